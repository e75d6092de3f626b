package controlplane

import (
	"os"
	"path/filepath"
)

// TokenKey is the private key, in PEM, with which the API server signs the tokens of
// ServiceAccounts: for tokens that it would not issue, such as one that has expired.
func (c *ControlPlane) TokenKey() ([]byte, error) {
	return os.ReadFile(filepath.Join(c.env.ControlPlane.GetAPIServer().CertDir, "sa-signer.key"))
}
