package powerfs

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"unsafe"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

const (
	maxWrite = 1 << 20
	// inRoom and outRoom are the largest message from the kernel and to it.
	inRoom  = maxWrite + 64<<10
	outRoom = maxWrite + 64<<10

	opForget      = 2
	opBatchForget = 42
	opSyncfs      = 50

	// pollHackName is a file that go-fuse makes up; see (*connection).settlePoll.
	pollHackName = ".go-fuse-epoll-hack"
)

// ErrCannotMount means that this machine does not let this process mount FUSE.
var ErrCannotMount = errors.New("can't mount a FUSE filesystem")

// Mount mounts an empty filesystem on a directory. Unmount follows in the end.
// ErrCannotMount where that is not allowed here.
func Mount(dir string, o Options) (*FS, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	f := newFS(dir, o)
	if f.connection, err = connect(f); err != nil {
		return nil, err
	}
	return f, nil
}

// Cut takes the power away, if CutAfter has not done it: from one moment on
// nothing reaches the disk any more, and whatever the system believed is gone.
// Every operation fails until Remount shows what survived.
func (f *FS) Cut() {
	f.mu.Lock()
	f.die()
	f.mu.Unlock()
	f.end()
}

// end has every operation fail that is going on or will be asked for.
func (f *FS) end() {
	if f.connection == nil {
		return
	}
	f.connection.abort()
	f.mu.Lock()
	close(f.over)
	f.mu.Unlock()
	f.connection.drain()
}

// Remount mounts what survived of the last Cut. Files that are open still fail.
func (f *FS) Remount() (err error) {
	f.connection.unmount()
	f.revive()
	f.connection, err = connect(f)
	return err
}

// Unmount ends the filesystem, in whatever state.
func (f *FS) Unmount() {
	if f.connection == nil {
		return
	}
	select {
	case <-f.over:
	default:
		f.end()
	}
	f.connection.unmount()
	f.connection = nil
}

// SeesSyncfs reports whether the kernel tells this mount of syncfs.
func (f *FS) SeesSyncfs() bool { return f.connection != nil && f.connection.seesSyncfs }

// connection is one mount.
type connection struct {
	fs         *FS
	device     int // of /dev/fuse
	anchor     int // keeps the mount busy, so that it can be aborted and still be there
	server     *fuse.ProtocolServer
	handling   sync.WaitGroup
	rooms      sync.Pool
	read       chan struct{} // closed when the kernel has nothing more to say
	seesSyncfs bool
	syncfs     bool // whether syncfs was ever seen; only for the trial
	mu         sync.Mutex
}

type room struct{ in, out []byte }

// connect mounts. It tries to be on a block device, because of syncfs.
func connect(f *FS) (*connection, error) {
	device, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("%w: /dev/fuse: %w", ErrCannotMount, err)
	}
	options := fmt.Sprintf("fd=%d,rootmode=%o,user_id=0,group_id=0,allow_other", device, unix.S_IFDIR)
	const flags = unix.MS_NOSUID | unix.MS_NODEV
	err = onBlockDevice(func(block string) error { return unix.Mount(block, f.dir, "fuseblk.powerfs", flags, options) })
	if err != nil {
		err = unix.Mount("powerfs", f.dir, "fuse.powerfs", flags, options)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %w", ErrCannotMount, err), unix.Close(device))
	}
	c := &connection{
		fs: f, device: device, anchor: -1, read: make(chan struct{}),
		server: fuse.NewProtocolServer(newBinding(f), &fuse.MountOptions{
			MaxWrite: maxWrite, DisableReadDirPlus: true, IgnoreSecurityLabels: true, MaxBackground: 64,
		}),
	}
	c.rooms.New = func() any { return &room{make([]byte, inRoom), make([]byte, outRoom)} }
	go c.loop()
	if err := c.try(); err != nil {
		c.abort()
		c.drain()
		c.unmount()
		return nil, fmt.Errorf("%w: %w", ErrCannotMount, err)
	}
	return c, nil
}

// try looks whether the mount answers and how it is told of syncfs.
func (c *connection) try() error {
	if err := c.settlePoll(); err != nil {
		return err
	}
	var err error
	if c.anchor, err = unix.Open(c.fs.dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
		return err
	}
	root, err := unix.Open(c.fs.dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	err = errors.Join(unix.Syncfs(root), unix.Close(root))
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seesSyncfs = c.syncfs
	return err
}

// settlePoll has the kernel learn that files can't be polled. It would ask when this process opens
// one, while the Go runtime may have no thread left to answer.
func (c *connection) settlePoll() error {
	file, err := unix.Open(filepath.Join(c.fs.dir, pollHackName), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	_, _ = unix.Poll([]unix.PollFd{{Fd: int32(file), Events: unix.POLLIN}}, 0) // the answer means nothing
	return unix.Close(file)
}

// loop hands each request to a goroutine of its own, so that one that takes
// long holds up no other.
func (c *connection) loop() {
	defer close(c.read)
	for {
		r, _ := c.rooms.Get().(*room) // it holds nothing else
		n, err := unix.Read(c.device, r.in)
		switch {
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.ENOENT), errors.Is(err, unix.EAGAIN): // the request was taken back
			c.rooms.Put(r)
			continue
		case err != nil:
			return
		}
		switch header := (*fuse.InHeader)(unsafe.Pointer(&r.in[0])); header.Opcode {
		case opForget, opBatchForget: // inodes are kept until the next cut
			c.rooms.Put(r)
		default:
			c.handling.Go(func() {
				c.answer(r, n)
				c.rooms.Put(r)
			})
		}
	}
}

func (c *connection) answer(r *room, n int) {
	header := (*fuse.InHeader)(unsafe.Pointer(&r.in[0]))
	var size int
	if header.Opcode == opSyncfs {
		size = c.answerSyncfs(r, header)
	} else {
		size, _ = c.server.HandleRequest([][]byte{r.in[:n]}, [][]byte{r.out})
	}
	if size > 0 {
		_, _ = unix.Write(c.device, r.out[:size]) // who asked may be gone
	}
}

// answerSyncfs stands in for go-fuse, which does not know the operation.
func (c *connection) answerSyncfs(r *room, header *fuse.InHeader) int {
	c.mu.Lock()
	first := !c.syncfs
	c.syncfs = true
	c.mu.Unlock()
	var err error
	if !first { // the first is the trial's
		err = c.fs.sync(nil, Syncfs, header.NodeId, nil)
	}
	out := (*fuse.OutHeader)(unsafe.Pointer(&r.out[0]))
	*out = fuse.OutHeader{Length: uint32(unsafe.Sizeof(*out)), Status: -int32(status(err)), Unique: header.Unique}
	return int(out.Length)
}

// abort has the kernel ask for nothing any more, and all who wait for an
// answer fail. The mount is still there, so that its path leads nowhere else.
func (c *connection) abort() {
	_ = unix.Unmount(c.fs.dir, unix.MNT_FORCE) // it is busy, and aborted all the same
	<-c.read
}

// drain waits for what is being answered.
func (c *connection) drain() {
	c.handling.Wait()
	closeFD(c.device)
}

// unmount takes the mount away from its path.
func (c *connection) unmount() {
	if c.anchor >= 0 {
		closeFD(c.anchor)
	}
	_ = unix.Unmount(c.fs.dir, unix.MNT_DETACH)
}

// onBlockDevice calls mount with a block device that ends with the mount. What
// is on it is never looked at.
func onBlockDevice(mount func(block string) error) error {
	const attempts = 20 // somebody else may take the device that is free
	var err error
	for range attempts {
		if err = mountLoop(mount); !errors.Is(err, unix.EBUSY) {
			return err
		}
	}
	return err
}

// closeFD closes what holds nothing that could be lost.
func closeFD(fd int) { _ = unix.Close(fd) }

func mountLoop(mount func(block string) error) error {
	control, err := unix.Open("/dev/loop-control", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer closeFD(control)
	number, err := unix.IoctlRetInt(control, unix.LOOP_CTL_GET_FREE)
	if err != nil {
		return err
	}
	block := fmt.Sprintf("/dev/loop%d", number)
	loop, err := unix.Open(block, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer closeFD(loop) // the mount has it open too, and the device ends with the last
	memory, err := unix.MemfdCreate("powerfs", unix.MFD_CLOEXEC)
	if err != nil {
		return err
	}
	defer closeFD(memory)
	if err := unix.Ftruncate(memory, 1<<20); err != nil {
		return err
	}
	if err := unix.IoctlLoopConfigure(loop, &unix.LoopConfig{
		Fd: uint32(memory), Info: unix.LoopInfo64{Flags: unix.LO_FLAGS_AUTOCLEAR},
	}); err != nil {
		return err
	}
	return mount(block)
}
