package powerfs_test

import (
	"testing"

	"github.com/slipway-dev/slipway/test/crash/shelter"
)

func TestMain(m *testing.M) { shelter.Main(m.Run) }
