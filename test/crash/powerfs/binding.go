package powerfs

import (
	"errors"
	"sync"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// binding answers the kernel from the model. Nothing is cached in the kernel:
// every look is a Lookup or a Getattr, every read and write goes through.
type binding struct {
	fuse.RawFileSystem // what is not answered here is ENOSYS
	fs                 *FS

	mu      sync.Mutex
	handles map[uint64]*handle
	last    uint64
}

// handle is an open file or directory.
type handle struct {
	listing []entry // of a directory
	// since is up to which failure of its inode it has heard. It belongs to FS and its lock.
	since int
}

type entry struct {
	name string
	id   uint64
	mode uint32
}

func newBinding(fs *FS) *binding {
	return &binding{RawFileSystem: fuse.NewDefaultRawFileSystem(), fs: fs, handles: map[uint64]*handle{}}
}

// open gives a handle a number.
func (b *binding) open(h *handle) uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last++
	b.handles[b.last] = h
	return b.last
}

// handle is the one of that number.
func (b *binding) handle(number uint64) *handle {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.handles[number]
}

func (b *binding) release(number uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.handles, number)
}

func (b *binding) String() string { return "powerfs" }

func status(err error) fuse.Status {
	var errno unix.Errno
	switch {
	case err == nil:
		return fuse.OK
	case errors.As(err, &errno):
		return fuse.Status(errno)
	}
	return fuse.EIO
}

// attr is what stat tells.
func (n *inode) attr() fuse.Attr {
	modified := n.attributes.modified
	a := fuse.Attr{
		Ino: n.id, Size: uint64(n.content.size), Blocks: uint64((n.content.size + sectorSize - 1) / sectorSize),
		Mode: n.attributes.mode, Nlink: uint32(n.links), Blksize: pageSize,
	}
	a.SetTimes(&modified, &modified, &modified)
	return a
}

func (n *inode) entry(out *fuse.EntryOut) { out.NodeId, out.Attr = n.id, n.attr() }

func (b *binding) Lookup(_ <-chan struct{}, in *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	return status(b.fs.do(Lookup, in.NodeId, name, func(_ *volume, dir *inode) error {
		n := dir.names[name]
		if n == nil {
			return unix.ENOENT
		}
		n.entry(out)
		return nil
	}))
}

func (b *binding) GetAttr(_ <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	return status(b.fs.do(Getattr, in.NodeId, "", func(_ *volume, n *inode) error {
		out.Attr = n.attr()
		return nil
	}))
}

func (b *binding) SetAttr(_ <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	size, truncates := in.GetSize()
	op := Chmod
	if truncates {
		op = Truncate
	}
	return status(b.fs.do(op, in.NodeId, "", func(_ *volume, n *inode) error {
		if truncates {
			n.content.resize(int64(size))
			n.change(func(a *attributes) { a.modified = time.Now() })
		}
		if mode, ok := in.GetMode(); ok {
			n.change(func(a *attributes) { a.mode = a.mode&unix.S_IFMT | mode })
		}
		if modified, ok := in.GetMTime(); ok {
			n.change(func(a *attributes) { a.modified = modified })
		}
		out.Attr = n.attr()
		return nil
	}))
}

func (b *binding) Access(<-chan struct{}, *fuse.AccessIn) fuse.Status { return fuse.OK }

func (b *binding) make(op Op, in *fuse.InHeader, name string, mode uint32, out *fuse.EntryOut) fuse.Status {
	return status(b.fs.do(op, in.NodeId, name, func(v *volume, dir *inode) error {
		n, err := v.make(dir, name, mode, time.Now())
		if err == nil {
			n.entry(out)
		}
		return err
	}))
}

func (b *binding) Mkdir(_ <-chan struct{}, in *fuse.MkdirIn, name string, out *fuse.EntryOut) fuse.Status {
	return b.make(Mkdir, &in.InHeader, name, unix.S_IFDIR|in.Mode, out)
}

// Create is also asked to open what has come to be there meanwhile.
func (b *binding) Create(_ <-chan struct{}, in *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	out.OpenFlags = openFlags
	return status(b.fs.do(Create, in.NodeId, name, func(v *volume, dir *inode) error {
		n := dir.names[name]
		if n != nil && (in.Flags&unix.O_EXCL != 0 || n.isDir) {
			return unix.EEXIST
		}
		if n == nil {
			var err error
			if n, err = v.make(dir, name, unix.S_IFREG|in.Mode&^unix.S_IFMT, time.Now()); err != nil {
				return err
			}
		}
		n.entry(&out.EntryOut)
		out.Fh = b.open(&handle{since: n.lost.sample()})
		return nil
	}))
}

func (b *binding) Link(_ <-chan struct{}, in *fuse.LinkIn, name string, out *fuse.EntryOut) fuse.Status {
	return status(b.fs.do(Link, in.NodeId, name, func(v *volume, dir *inode) error {
		n := v.inodes[in.Oldnodeid]
		if n == nil {
			return unix.ESTALE
		}
		if err := v.link(n, dir, name, time.Now()); err != nil {
			return err
		}
		n.entry(out)
		return nil
	}))
}

func (b *binding) Unlink(_ <-chan struct{}, in *fuse.InHeader, name string) fuse.Status {
	return status(b.fs.do(Unlink, in.NodeId, name, func(v *volume, dir *inode) error { return v.unlink(dir, name, time.Now()) }))
}

func (b *binding) Rmdir(_ <-chan struct{}, in *fuse.InHeader, name string) fuse.Status {
	return status(b.fs.do(Rmdir, in.NodeId, name, func(v *volume, dir *inode) error { return v.rmdir(dir, name, time.Now()) }))
}

func (b *binding) Rename(_ <-chan struct{}, in *fuse.RenameIn, old, name string) fuse.Status {
	return status(b.fs.do(Rename, in.NodeId, old, func(v *volume, from *inode) error {
		to := v.inodes[in.Newdir]
		switch {
		case to == nil:
			return unix.ESTALE
		case in.Flags&^unix.RENAME_NOREPLACE != 0:
			return unix.EINVAL
		}
		return v.rename(from, old, to, name, in.Flags == 0, time.Now())
	}))
}

// openFlags keep the bytes out of the page cache.
const openFlags = fuse.FOPEN_DIRECT_IO | fuse.FOPEN_PARALLEL_DIRECT_WRITES | fuse.FOPEN_NOFLUSH

func (b *binding) Open(_ <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	out.OpenFlags = openFlags
	return status(b.fs.do(Open, in.NodeId, "", func(_ *volume, n *inode) error {
		out.Fh = b.open(&handle{since: n.lost.sample()})
		return nil
	}))
}

func (b *binding) Release(_ <-chan struct{}, in *fuse.ReleaseIn) { b.release(in.Fh) }

func (b *binding) Flush(<-chan struct{}, *fuse.FlushIn) fuse.Status { return fuse.OK }

func (b *binding) Read(_ <-chan struct{}, in *fuse.ReadIn, into []byte) (fuse.ReadResult, fuse.Status) {
	read := 0
	err := b.fs.do(Read, in.NodeId, "", func(_ *volume, n *inode) error {
		read = n.content.read(int64(in.Offset), into[:min(int(in.Size), len(into))])
		return nil
	})
	return fuse.ReadResultData(into[:read]), status(err)
}

func (b *binding) Write(_ <-chan struct{}, in *fuse.WriteIn, bytes []byte) (uint32, fuse.Status) {
	err := b.fs.do(Write, in.NodeId, "", func(_ *volume, n *inode) error {
		n.content.write(int64(in.Offset), bytes)
		n.change(func(a *attributes) { a.modified = time.Now() })
		return nil
	})
	if err != nil {
		return 0, status(err)
	}
	return uint32(len(bytes)), fuse.OK
}

func (b *binding) Fallocate(_ <-chan struct{}, in *fuse.FallocateIn) fuse.Status {
	return status(b.fs.do(Fallocate, in.NodeId, "", func(_ *volume, n *inode) error {
		if in.Mode&^unix.FALLOC_FL_KEEP_SIZE != 0 {
			return unix.EOPNOTSUPP
		}
		if end := int64(in.Offset + in.Length); in.Mode == 0 && end > n.content.size {
			n.content.resize(end)
		}
		return nil
	}))
}

func (b *binding) Fsync(cancel <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	const dataOnly = 1 // FUSE_FSYNC_FDATASYNC
	op := Fsync
	if in.FsyncFlags&dataOnly != 0 {
		op = Fdatasync
	}
	return status(b.fs.sync(cancel, op, in.NodeId, &b.handle(in.Fh).since))
}

func (b *binding) FsyncDir(cancel <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	return status(b.fs.sync(cancel, FsyncDir, in.NodeId, &b.handle(in.Fh).since))
}

// OpenDir takes the listing, so that what is removed while it is read skips nothing.
func (b *binding) OpenDir(_ <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	return status(b.fs.do(Opendir, in.NodeId, "", func(_ *volume, dir *inode) error {
		h := &handle{since: dir.lost.sample()}
		for _, name := range sorted(dir.names) {
			n := dir.names[name]
			h.listing = append(h.listing, entry{name, n.id, n.attributes.mode})
		}
		out.Fh = b.open(h)
		return nil
	}))
}

func (b *binding) ReadDir(_ <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	if err := b.fs.do(Readdir, in.NodeId, "", func(*volume, *inode) error { return nil }); err != nil {
		return status(err)
	}
	listing := b.handle(in.Fh).listing
	for i := int(in.Offset); i < len(listing); i++ {
		e := listing[i]
		if !out.AddDirEntry(fuse.DirEntry{Name: e.name, Ino: e.id, Mode: e.mode, Off: uint64(i + 1)}) {
			break
		}
	}
	return fuse.OK
}

func (b *binding) ReleaseDir(in *fuse.ReleaseIn) { b.release(in.Fh) }

func (b *binding) SetXAttr(_ <-chan struct{}, in *fuse.SetXAttrIn, name string, value []byte) fuse.Status {
	kept := string(value)
	return status(b.fs.do(Setxattr, in.NodeId, "", func(_ *volume, n *inode) error {
		_, there := n.attributes.extended[name]
		switch {
		case there && in.Flags&unix.XATTR_CREATE != 0:
			return unix.EEXIST
		case !there && in.Flags&unix.XATTR_REPLACE != 0:
			return unix.ENODATA
		}
		n.setExtended(name, &kept)
		return nil
	}))
}

func (b *binding) RemoveXAttr(_ <-chan struct{}, in *fuse.InHeader, name string) fuse.Status {
	return status(b.fs.do(Setxattr, in.NodeId, "", func(_ *volume, n *inode) error {
		if _, there := n.attributes.extended[name]; !there {
			return unix.ENODATA
		}
		n.setExtended(name, nil)
		return nil
	}))
}

func (b *binding) GetXAttr(_ <-chan struct{}, in *fuse.InHeader, name string, into []byte) (uint32, fuse.Status) {
	return b.xattr(in, into, func(n *inode) (string, error) {
		value, there := n.attributes.extended[name]
		if !there {
			return "", unix.ENODATA
		}
		return value, nil
	})
}

func (b *binding) ListXAttr(_ <-chan struct{}, in *fuse.InHeader, into []byte) (uint32, fuse.Status) {
	return b.xattr(in, into, func(n *inode) (string, error) {
		list := ""
		for _, name := range sorted(n.attributes.extended) {
			list += name + "\x00"
		}
		return list, nil
	})
}

func (b *binding) xattr(in *fuse.InHeader, into []byte, get func(n *inode) (string, error)) (uint32, fuse.Status) {
	value := ""
	err := b.fs.do(Getxattr, in.NodeId, "", func(_ *volume, n *inode) (err error) {
		value, err = get(n)
		return err
	})
	if err == nil && len(value) > len(into) {
		err = unix.ERANGE
	}
	copy(into, value)
	return uint32(len(value)), status(err)
}

func (b *binding) StatFs(_ <-chan struct{}, in *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	return status(b.fs.do(Statfs, in.NodeId, "", func(v *volume, _ *inode) error {
		free := uint64(max(b.fs.options.Capacity-v.used(), 0)) / pageSize
		*out = fuse.StatfsOut{
			Blocks: uint64(b.fs.options.Capacity) / pageSize, Bfree: free, Bavail: free, Files: 1 << 20, Ffree: 1 << 20,
			Bsize: pageSize, Frsize: pageSize, NameLen: 255,
		}
		return nil
	}))
}
