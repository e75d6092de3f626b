// Package file keeps the bytes of sessions in a directory, as on a PVC.
//
// The room holds everything that opens, syncs, renames or removes files: the
// layout of a volume, the order of its writes, the probe that refuses volumes
// which can't keep the promises, recovery, and publication by hard link. The
// README draws what is on the volume after each step that can be cut short.
//
// What may not enter: what a session means, HTTP, Kubernetes, and any path
// that os.Root did not resolve. Two rules hold everywhere: syncs, renames and
// links happen in durable.go alone, and no symbolic link is ever followed,
// also not to a place within the volume.
package file
