// Package powerfs is a filesystem in memory whose power can be cut. It tells
// what the system sees from what the disk has for sure: only a sync takes from
// the one to the other, each kind of sync only what POSIX says it must. A cut
// keeps, drops, tears and reorders the rest at random, as a real disk may; what
// is mounted again is exactly what survived. It also fails and delays
// operations by name, and can be told to ignore some syncs, to show that
// a test built on it has teeth.
//
// volume, content, sync, lost and cut are the model: pure, and tested by tables that
// read as prose. do puts faults in its way, binding speaks FUSE for it, mount calls the
// kernel, and look reads it past all of these.
//
// What is sure after which call:
//
//   - fdatasync of a file: its bytes and its size. Not its mode, times and
//     attributes, and not its name.
//   - fsync of a file: all of these, and not its name.
//   - fsync of a directory: every change of its names so far, and of another
//     directory's names what came before a rename or link that both took part in.
//   - syncfs: everything. Linux tells a filesystem of it only where that is
//     mounted on a block device, since 6.18; elsewhere it makes nothing sure,
//     and FS.SeesSyncfs says so.
//   - a sync that failed: nothing, and no later sync tries those changes again,
//     as the page cache of Linux has it. Only what is written anew can still
//     become sure. Who has the file or directory open that lost something hears of it at
//     the next sync, once (lost.go), also where it was syncfs that failed.
//   - a writeback that failed while nobody waited (FS.FailWriteback): the same, of bytes.
//
// Left out of the model: a full volume (Statfs counts, but nothing is refused for want
// of room but by a Fault), permissions, symbolic links, memory mappings.
package powerfs
