// Package machine tells what the benchmark runs on, and brings memory and disk
// into the same state before each sample.
package machine

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Machine is what a result depends on besides the programs.
type Machine struct {
	CPU        string `json:"cpu"`
	Cores      int    `json:"cores"`
	Memory     int64  `json:"memoryBytes"`
	Kernel     string `json:"kernel"`
	Filesystem string `json:"filesystem"`
	Go         string `json:"go"`
	SHA        bool   `json:"shaInstructions"`
}

// Describe describes this machine, and the filesystem of a directory.
func Describe(dir string) (Machine, error) {
	m := Machine{Cores: runtime.NumCPU(), Go: runtime.Version()}
	cpu, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return m, err
	}
	m.CPU = "unknown"
	for line := range strings.Lines(string(cpu)) {
		name, value, _ := strings.Cut(line, ":")
		switch strings.TrimSpace(name) {
		case "model name":
			m.CPU = strings.TrimSpace(value)
		case "flags", "Features":
			m.SHA = strings.Contains(value, " sha_ni") || strings.Contains(value, " sha2")
		}
	}
	if m.Memory, err = memory("MemTotal"); err != nil {
		return m, err
	}
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return m, err
	}
	m.Kernel = unix.ByteSliceToString(name.Release[:])
	m.Filesystem, err = filesystem(dir)
	return m, err
}

// memory reads a line of /proc/meminfo, in bytes.
func memory(field string) (int64, error) {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, field+":"); ok {
			kib, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("/proc/meminfo has no %s", field)
}

// filesystem is the type and the options of the mount that holds a directory.
func filesystem(dir string) (string, error) {
	device, err := Device(dir)
	if err != nil {
		return "", err
	}
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(b)) {
		before, after, ok := strings.Cut(line, " - ")
		fields, kind := strings.Fields(before), strings.Fields(after)
		if ok && len(fields) > 5 && len(kind) > 0 && fields[2] == device {
			return kind[0] + journal(kind[0], device) + " (" + fields[5] + ")", nil
		}
	}
	return "unknown", nil
}

// journal says where an ext4 has none: its syncs are cheaper and promise less.
func journal(kind, device string) string {
	if kind != "ext4" {
		return ""
	}
	block, err := os.Readlink("/sys/dev/block/" + device)
	if err != nil {
		return ""
	}
	found, err := filepath.Glob("/proc/fs/jbd2/" + filepath.Base(block) + "-*")
	if err != nil || len(found) > 0 {
		return ""
	}
	return " without a journal"
}

// LoadAverage is how many processes ran or wanted to in the last minute, on average.
func LoadAverage() (float64, error) {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0, err
	}
	first, _, _ := strings.Cut(string(b), " ")
	return strconv.ParseFloat(first, 64)
}

// InMemory reports whether a directory is on a filesystem without a disk,
// where a sync says nothing.
func InMemory(dir string) (bool, error) {
	var st unix.Statfs_t
	err := unix.Statfs(dir, &st)
	return st.Type == unix.TMPFS_MAGIC || st.Type == unix.RAMFS_MAGIC, err
}

// Free is how many bytes can still be written under a directory.
func Free(dir string) (int64, error) {
	var st unix.Statfs_t
	err := unix.Statfs(dir, &st)
	return int64(st.Bavail) * st.Frsize, err
}

// Device is the device of a directory as major:minor.
func Device(dir string) (string, error) {
	var st unix.Stat_t
	err := unix.Stat(dir, &st)
	return fmt.Sprintf("%d:%d", unix.Major(st.Dev), unix.Minor(st.Dev)), err
}

// sectorBytes is the unit of /sys/dev/block/*/stat on every device.
const sectorBytes = 512

// Written is how many bytes the whole machine has written to the device of a
// directory; 0 where that is not told.
func Written(dir string) int64 {
	device, err := Device(dir)
	if err != nil {
		return 0
	}
	b, err := os.ReadFile("/sys/dev/block/" + device + "/stat")
	if err != nil {
		return 0 // such as a network filesystem, or one of several devices
	}
	fields := strings.Fields(string(b))
	if len(fields) < 7 {
		return 0
	}
	sectors, _ := strconv.ParseInt(fields[6], 10, 64)
	return sectors * sectorBytes
}

// Sync brings all that was written to the filesystem of a directory to its device.
func Sync(dir string) error {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }() // it was only opened to be named
	return unix.Syncfs(fd)
}

// Warm touches so much memory that it is there when the page cache wants it: a
// hypervisor may have taken back what was free, and takes its time to give it
// again. It touches at most half of what is available.
func Warm(bytes int64) error {
	available, err := memory("MemAvailable")
	if err != nil {
		return err
	}
	bytes = min(bytes, available/2)
	b, err := unix.Mmap(-1, 0, int(bytes), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_POPULATE)
	if err != nil {
		return fmt.Errorf("touch %d bytes: %w", bytes, err)
	}
	return unix.Munmap(b)
}

// OwnCPU is what this process used of the cores until now.
func OwnCPU() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0 // it can't fail for oneself
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// topDirectory is FS_TOPDIR_FL of linux/fs.h.
const topDirectory = 0x00020000

// Spread asks the filesystem to lay the folders that are made in a directory
// far apart. An ext4 that has no journal leaves inodes alone for a minute after
// they were deleted, and who creates files beside those of the sample before
// would pay for looking past them. Filesystems that know no such thing are left
// as they are.
func Spread(dir string) error {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }() // it was only opened to be named
	flags, err := unix.IoctlGetInt(fd, unix.FS_IOC_GETFLAGS)
	if err != nil {
		return nil
	}
	_ = unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, flags|topDirectory) // see above
	return nil
}
