package agent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/apimachinery/pkg/util/wait"
)

// Read is the report of a file on a volume.
type Read struct {
	Digest string `json:"digest"`
	Bytes  int64  `json:"bytes"`
}

// reading reads a file, as soon as it is there.
type reading struct {
	file     string
	patience time.Duration
}

func (r *reading) register(flags *flag.FlagSet) {
	flags.StringVar(&r.file, "file", "", "what to read")
	flags.DurationVar(&r.patience, "patience", 0, "how long to wait for it to appear")
}

func (r *reading) run(ctx context.Context) (any, error) {
	f, err := r.open(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	sum := sha256.New()
	n, err := io.Copy(sum, f)
	return Read{Digest: "sha256:" + hex.EncodeToString(sum.Sum(nil)), Bytes: n}, err
}

// open opens the file the moment it appears: what is published is whole from then on.
func (r *reading) open(ctx context.Context) (f *os.File, err error) {
	f, err = os.Open(r.file)
	if err == nil || r.patience == 0 || !errors.Is(err, fs.ErrNotExist) {
		return f, err
	}
	err = wait.PollUntilContextTimeout(ctx, 20*time.Millisecond, r.patience, true, func(context.Context) (bool, error) {
		f, err = os.Open(r.file)
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		return err == nil, err
	})
	return f, err
}

// List is the report of all files below a folder.
type List struct {
	Files []string `json:"files"`
}

// listing lists the files below a folder, relative to it.
type listing struct{ folder string }

func (l *listing) register(flags *flag.FlagSet) {
	flags.StringVar(&l.folder, "folder", "", "what to list")
}

func (l *listing) run(context.Context) (any, error) {
	report := List{Files: []string{}}
	err := filepath.WalkDir(l.folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name, err := filepath.Rel(l.folder, path)
		report.Files = append(report.Files, name)
		return err
	})
	return report, err
}

// Fill is the report of a volume that was filled.
type Fill struct {
	TakenBytes int64 `json:"takenBytes"`
	FreeBytes  int64 `json:"freeBytes"`
}

// filling takes the room of a volume with one file, but for some.
type filling struct {
	file string
	free int64
}

func (f *filling) register(flags *flag.FlagSet) {
	flags.StringVar(&f.file, "file", "", "what to make")
	flags.Int64Var(&f.free, "free-bytes", 0, "how much to leave free")
}

func (f *filling) run(context.Context) (any, error) {
	free, err := freeBytes(filepath.Dir(f.file))
	if err != nil {
		return nil, err
	}
	taken := free - f.free
	file, err := os.OpenFile(f.file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	err = unix.Fallocate(int(file.Fd()), 0, 0, taken)
	if err := errors.Join(err, file.Close()); err != nil {
		return nil, err
	}
	free, err = freeBytes(filepath.Dir(f.file))
	return Fill{TakenBytes: taken, FreeBytes: free}, err
}

func freeBytes(folder string) (int64, error) {
	var st unix.Statfs_t
	err := unix.Statfs(folder, &st)
	return int64(st.Bavail) * st.Bsize, err
}

// removing removes a file.
type removing struct{ file string }

func (r *removing) register(flags *flag.FlagSet) {
	flags.StringVar(&r.file, "file", "", "what to remove")
}

func (r *removing) run(context.Context) (any, error) { return struct{}{}, os.Remove(r.file) }
