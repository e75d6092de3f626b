{{- /*
Whether an object is installed: (list ROOT OBJECT), "true" or nothing.
*/ -}}
{{- define "slipway.wanted" -}}
{{- $root := index . 0 }}{{ $object := index . 1 }}
{{- if not $object.kind }}
{{- else if eq $object.kind "Namespace" }}{{/* Helm's own: --create-namespace */}}
{{- else if hasPrefix "MutatingAdmissionPolicy" $object.kind }}
{{- /* Kinds are known only where there is a cluster to ask, which has Pods. */}}
{{- $versions := $root.Capabilities.APIVersions }}
{{- $served := or ($versions.Has (printf "%s/%s" $object.apiVersion $object.kind)) (not ($versions.Has "v1/Pod")) }}
{{- $known := and $served (semverCompare ">=1.36.0-0" $root.Capabilities.KubeVersion.Version) }}
{{- if or (eq $root.Values.policy.mutating "always") (and (eq $root.Values.policy.mutating "auto") $known) }}true{{ end }}
{{- else }}true{{ end }}
{{- end }}

{{- /*
Changes an object as the values say: (list ROOT OBJECT).
*/ -}}
{{- define "slipway.change" -}}
{{- $root := index . 0 }}{{ $object := index . 1 }}
{{- $labels := dict
  "helm.sh/chart" (printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_")
  "app.kubernetes.io/name" "slipway"
  "app.kubernetes.io/instance" $root.Release.Name
  "app.kubernetes.io/version" $root.Chart.AppVersion
  "app.kubernetes.io/managed-by" $root.Release.Service }}
{{- $_ := set $object.metadata "labels" (mergeOverwrite (deepCopy $root.Values.labels) ($object.metadata.labels | default dict) $labels) }}
{{- if and (eq $object.kind "CustomResourceDefinition") $root.Values.crd.keep }}
{{- $_ := set $object.metadata "annotations" (merge (dict "helm.sh/resource-policy" "keep") ($object.metadata.annotations | default dict)) }}
{{- end }}
{{- if and (eq $object.kind "Deployment") (eq $object.metadata.name "slipway-manager") }}
{{- include "slipway.manager" (list $root.Values.manager $root $object.spec) }}
{{- end }}
{{- if and (eq $object.kind "ServiceAccount") (eq $object.metadata.name "slipway-manager") }}
{{- with $root.Values.manager.serviceAccountAnnotations }}
{{- $_ := set $object.metadata "annotations" (mergeOverwrite (deepCopy .) ($object.metadata.annotations | default dict)) }}
{{- end }}
{{- end }}
{{- if eq $object.kind "MutatingWebhookConfiguration" }}
{{- with $root.Values.manager.watchNamespace }}
{{- /* Pods elsewhere would be refused: the operator knows nothing of their stores. */}}
{{- $only := dict "key" "kubernetes.io/metadata.name" "operator" "In" "values" (list .) }}
{{- range $object.webhooks }}
{{- $_ := set .namespaceSelector "matchExpressions" (append .namespaceSelector.matchExpressions $only) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- /*
Changes the manager's Deployment: (list VALUES ROOT SPEC).
*/ -}}
{{- define "slipway.manager" -}}
{{- $values := index . 0 }}{{ $root := index . 1 }}{{ $spec := index . 2 }}
{{- $_ := set $spec "replicas" $values.replicas }}
{{- $metadata := $spec.template.metadata }}
{{- $_ := set $metadata "labels" (merge (deepCopy $metadata.labels) $values.podLabels) }}
{{- $_ := set $metadata "annotations" (merge (deepCopy $metadata.annotations) $values.podAnnotations) }}
{{- $pod := $spec.template.spec }}
{{- range $field := list "imagePullSecrets" "nodeSelector" "tolerations" "affinity" "priorityClassName" }}
{{- with get $values $field }}{{ $_ := set $pod $field . }}{{ end }}
{{- end }}
{{- $_ := set $pod "securityContext" (mergeOverwrite $pod.securityContext (deepCopy $values.podSecurityContext)) }}
{{- $container := first $pod.containers }}
{{- $_ := set $container "securityContext" (mergeOverwrite $container.securityContext (deepCopy $values.securityContext)) }}
{{- $_ := set $container "image" (include "slipway.image" (list $values.image $root)) }}
{{- $_ := set $container "imagePullPolicy" $values.image.pullPolicy }}
{{- $_ := set $container "resources" $values.resources }}
{{- $args := list }}
{{- range $container.args }}
{{- $args = append $args (hasPrefix "--dataplane-image=" . | ternary (printf "--dataplane-image=%s" (include "slipway.image" (list $root.Values.dataplane.image $root))) .) }}
{{- end }}
{{- /* Of a flag that is given twice, the later holds. */}}
{{- if ne $values.logLevel "INFO" }}{{ $args = append $args (printf "--log-level=%s" $values.logLevel) }}{{ end }}
{{- if not $root.Values.webhook.enabled }}{{ $args = append $args "--webhook-port=0" }}{{ end }}
{{- with $values.watchNamespace }}{{ $args = append $args (printf "--namespace=%s" .) }}{{ end }}
{{- $_ := set $container "args" (concat $args $values.extraArgs) }}
{{- with $values.extraEnv }}{{ $_ := set $container "env" (concat ($container.env | default list) .) }}{{ end }}
{{- end }}

{{- /*
The reference of an image: (list IMAGE ROOT).
*/ -}}
{{- define "slipway.image" -}}
{{- $image := index . 0 }}{{ $root := index . 1 }}
{{- if $image.digest }}{{ printf "%s@%s" $image.repository $image.digest }}
{{- else }}{{ printf "%s:%s" $image.repository ($image.tag | default $root.Chart.AppVersion) }}{{ end }}
{{- end }}
