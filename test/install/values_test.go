package install

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// leaves are the paths of the values at which there is no further map with names.
func leaves(prefix string, values map[string]any) []string {
	var paths []string
	for _, name := range slices.Sorted(maps.Keys(values)) {
		path := prefix + name
		below, isMap := values[name].(map[string]any)
		if isMap && len(below) > 0 && name != "resources" {
			paths = append(paths, leaves(path+".", below)...)
		} else {
			paths = append(paths, path)
		}
	}
	return paths
}

// Each value is in the README's table and known to the schema, and nothing else is.
func TestChartValuesAreDocumented(t *testing.T) {
	var values map[string]any
	if err := yaml.Unmarshal([]byte(readFile(t, chart+"/values.yaml")), &values); err != nil {
		t.Fatal(err)
	}
	want := leaves("", values)

	var documented []string
	for line := range strings.Lines(readFile(t, chart+"/README.md")) {
		if name, found := strings.CutPrefix(line, "| `"); found {
			name, _, _ = strings.Cut(name, "`")
			documented = append(documented, name)
		}
	}
	slices.Sort(documented)
	if !slices.Equal(documented, want) {
		t.Errorf("the README has\n%q, values.yaml has\n%q", documented, want)
	}

	var schema node
	if err := json.Unmarshal([]byte(readFile(t, chart+"/values.schema.json")), &schema); err != nil {
		t.Fatal(err)
	}
	known := slices.DeleteFunc(schema.leaves("", schema.Definitions), func(path string) bool {
		return path == "global" // Helm's own
	})
	slices.Sort(known)
	if !slices.Equal(known, want) {
		t.Errorf("the schema has\n%q, values.yaml has\n%q", known, want)
	}
}

// node is what is read of a JSON schema.
type node struct {
	Ref         string          `json:"$ref"`
	Properties  map[string]node `json:"properties"`
	Definitions map[string]node `json:"definitions"`
}

func (n node) leaves(path string, definitions map[string]node) []string {
	if name, found := strings.CutPrefix(n.Ref, "#/definitions/"); found {
		n = definitions[name]
	}
	// What Kubernetes defines is one value each.
	if len(n.Properties) == 0 || path == "manager.resources" || path == "manager.affinity" {
		return []string{path}
	}
	var paths []string
	for name, property := range n.Properties {
		paths = append(paths, property.leaves(strings.TrimPrefix(path+"."+name, "."), definitions)...)
	}
	return paths
}
