// Package install tests what strangers install from, against a real API server:
// dist/install.yaml, the Helm chart, the images, and the way from one version of
// the CRDs to the next.
//
// It knows the files as they are shipped, and nothing of how they are made.
package install
