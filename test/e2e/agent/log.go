package agent

import "log/slog"

// logProgress logs each tenth of an upload, for who reads the Pod's log.
func logProgress(stored, last, size int64) {
	if before := stored - last; stored*10/size > before*10/size {
		slog.Info("uploading", "storedBytes", stored, "percent", stored*100/size)
	}
}
