package file

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// probe tries, beside the sessions, every operation that a promise rests on.
// That they survive a loss of power can't be tried; that they are refused or do
// something else can. A full volume ends the probe early and passes: it was
// probed when it was empty, and is opened so that it can be freed.
func probe(volume, staging *os.Root) error {
	if err := onOneFilesystem(volume, staging); err != nil {
		return refusal("objects can't be linked from the staging directory to the root", err)
	}
	if err := staging.RemoveAll(probeName); err != nil {
		return refusal("an earlier probe can't be removed", err)
	}
	err := probeIn(staging)
	if err = errors.Join(err, staging.RemoveAll(probeName)); err != nil && !isFull(err) {
		return err
	}
	return nil
}

func probeIn(staging *os.Root) error {
	if _, err := makeDirectory(staging, probeName, stagingMode); err != nil {
		return refusal("directories can't be made and synced", err)
	}
	dir, err := enter(staging, probeName)
	if err != nil {
		return refusal("directories can't be made", err)
	}
	defer release(dir)
	for _, one := range []struct {
		why string
		try func(dir *os.Root) error
	}{
		{"files can't be written and synced", tryFiles},
		{"files can't be replaced in one step", tryReplace},
		{"files can't be linked between directories", tryLink},
		{"directories can't be renamed", tryRename},
	} {
		if err := one.try(dir); err != nil {
			return refusal(one.why, err)
		}
	}
	return nil
}

func tryFiles(dir *os.Root) error {
	f, err := openOrCreate(dir, "a")
	if err != nil {
		return err
	}
	return errors.Join(writeDurably(f, []byte("a")), syncBytes(f), f.Close())
}

func tryReplace(dir *os.Root) error {
	if err := replaceFile(dir, "b", "a", []byte("b")); err != nil {
		return err
	}
	got, err := dir.ReadFile("a")
	if err == nil && string(got) != "b" {
		err = fmt.Errorf("it holds %q, not what replaced it", got)
	}
	return err
}

func tryLink(dir *os.Root) error {
	if _, err := makeDirectory(dir, "d", stagingMode); err != nil {
		return err
	}
	sub, err := enter(dir, "d")
	if err != nil {
		return err
	}
	defer release(sub)
	if err := linkBetween(dir, "a", sub, "a"); err != nil {
		return err
	}
	f, _, err := openRegular(dir, "a", os.O_RDONLY)
	if err != nil {
		return err
	}
	defer release(f)
	if err := stillNamed(sub, "a", f); err != nil {
		return fmt.Errorf("a link is not the file: %w", err)
	}
	if err := replaceFile(dir, "c", "b", []byte("b")); err != nil {
		return err
	}
	if err := linkBetween(dir, "b", sub, "a"); !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("a link over a file is not refused: %w", err)
	}
	return syncDirectory(sub)
}

func tryRename(dir *os.Root) error { return renameDurably(dir, "d", "e") }

// onOneFilesystem returns nil when names can be moved from the staging
// directory to the root, and both take them.
func onOneFilesystem(volume, staging *os.Root) error {
	root, err := writableOn(volume)
	if err != nil {
		return err
	}
	below, err := writableOn(staging)
	if err == nil && root != below {
		err = errors.New("they are on different filesystems")
	}
	return err
}

// writableOn returns the device of a directory that names can be made in.
func writableOn(dir *os.Root) (device uint64, err error) {
	f, err := dir.Open(".")
	if err != nil {
		return 0, err
	}
	defer release(f)
	var st unix.Stat_t
	err = onDescriptor(f, func(fd int) error {
		return errors.Join(unix.Fstat(fd, &st), unix.Faccessat(fd, ".", unix.W_OK|unix.X_OK, unix.AT_EACCESS))
	})
	return st.Dev, err
}
