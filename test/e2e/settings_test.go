package e2e_test

import (
	"cmp"
	"os"
)

// settings are what the environment says; `make test-e2e` sets it.
var settings = struct {
	// agentImage is the image of cmd/e2e.
	agentImage string
	// dataplaneImage is what the manifest runs, nextDataplaneImage what a store is rolled to.
	dataplaneImage, nextDataplaneImage string
	// managerImage is what the manifest runs too.
	managerImage string
	// manifest is the file that installs Slipway, with the images of this run.
	manifest string
	// existing is set where Slipway is installed already, and is to stay.
	existing bool
	// sharedClass is the StorageClass of ReadWriteMany claims; empty for the cluster's default.
	sharedClass string
	kubectl     string
}{
	agentImage:         os.Getenv("E2E_IMAGE"),
	managerImage:       os.Getenv("MANAGER_IMAGE"),
	dataplaneImage:     os.Getenv("DATAPLANE_IMAGE"),
	nextDataplaneImage: os.Getenv("DATAPLANE_NEXT_IMAGE"),
	manifest:           os.Getenv("E2E_MANIFEST"),
	existing:           os.Getenv("E2E_EXISTING") == "true",
	sharedClass:        os.Getenv("E2E_SHARED_CLASS"),
	kubectl:            cmp.Or(os.Getenv("KUBECTL"), "kubectl"),
}

// repository is where the samples are.
const repository = "../.."
