package file

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"

	"github.com/slipway-dev/slipway/dataplane/session"
)

// The file of a record has two halves, each with room for one version of the
// record. The next version is written over the older one, so that a write that
// is cut short leaves the newer one as it was; of the halves that are whole the
// one with the higher generation counts. A half begins with its header:
//
//	magic 4 bytes, length of the record 4, generation 8, CRC-32C of these and the record 4
const (
	recordMagic  = 0x32504c53 // "SLP2"
	recordHeader = 20

	// recordMargin is how much longer the next record of a session may be than its first for its
	// room to be reserved: an Outcome of common size.
	recordMargin = 8 << 10
	// recordUnit divides a half, so that none shares a block with the other.
	recordUnit = 4 << 10
	// maxRecordHalf bounds a half in bytes. The largest record that checkRecord lets through, all
	// its opaque strings escaped, is well below.
	maxRecordHalf = 1 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// recordHalf is how long each half is of the file in which a record comes first, in bytes.
func recordHalf(record []byte) int64 {
	length := recordHeader + len(record) + recordMargin
	return int64((length + recordUnit - 1) / recordUnit * recordUnit)
}

// writeFirstRecord makes a new file that of a record. Where a common version
// goes, zeros are written and not only reserved, so that to write it changes
// nothing but its bytes.
func writeFirstRecord(f *os.File, record []byte) error {
	half := recordHalf(record)
	if err := reserve(f, 2*half); err != nil {
		return err
	}
	if _, err := f.WriteAt(make([]byte, recordUnit), half); err != nil {
		return err
	}
	return write(f, encodeHalf(version{generation: 1, stored: record}))
}

// version is one version of a record as it is stored.
type version struct {
	generation uint64
	stored     []byte
	second     bool // it is in the second half
}

func encodeHalf(v version) []byte {
	b := make([]byte, recordHeader, recordHeader+len(v.stored))
	binary.LittleEndian.PutUint32(b, recordMagic)
	binary.LittleEndian.PutUint32(b[4:], uint32(len(v.stored))) //nolint:gosec // recordHalf is bounded
	binary.LittleEndian.PutUint64(b[8:], v.generation)
	b = append(b, v.stored...)
	binary.LittleEndian.PutUint32(b[16:], halfCheck(b))
	return b
}

// storedLength is how long a version is with its header, in bytes; 0 where there is none.
func storedLength(b []byte) int64 {
	if len(b) < recordHeader || binary.LittleEndian.Uint32(b) != recordMagic {
		return 0
	}
	return recordHeader + int64(binary.LittleEndian.Uint32(b[4:]))
}

// decodeHalf reads what is in a half; false where it is empty, torn or damaged.
func decodeHalf(b []byte) (version, bool) {
	length := storedLength(b)
	if length == 0 || length > int64(len(b)) {
		return version{}, false
	}
	b = b[:length]
	if binary.LittleEndian.Uint32(b[16:]) != halfCheck(b) {
		return version{}, false
	}
	return version{generation: binary.LittleEndian.Uint64(b[8:]), stored: b[recordHeader:]}, true
}

func halfCheck(b []byte) uint32 {
	return crc32.Update(crc32.Checksum(b[:16], castagnoli), castagnoli, b[recordHeader:])
}

// recordFile is the open file of a record.
type recordFile struct {
	file *os.File
	half int64
}

func openRecord(dir *os.Root, flag int) (*recordFile, error) {
	f, info, err := openRegular(dir, recordName, flag)
	if err != nil {
		return nil, err
	}
	if size := info.Size(); size == 0 || size%(2*recordUnit) != 0 || size > 2*maxRecordHalf {
		release(f)
		return nil, fmt.Errorf("no record is %d bytes long", size)
	}
	return &recordFile{file: f, half: info.Size() / 2}, nil
}

// newest reads the version that counts.
func (f *recordFile) newest() (version, error) {
	one, first, err := f.read(0)
	if err != nil {
		return version{}, err
	}
	two, second, err := f.read(f.half)
	if err != nil {
		return version{}, err
	}
	two.second = true
	switch {
	case second && (!first || two.generation > one.generation):
		return two, nil
	case first:
		return one, nil
	}
	return version{}, errors.New("damaged record: neither half is whole")
}

// newestHalf is the version that counts as it is stored, and where.
func (f *recordFile) newestHalf() (b []byte, at int64, err error) {
	newest, err := f.newest()
	if newest.second {
		at = f.half
	}
	return encodeHalf(newest), at, err
}

// read reads the half that begins at an offset; false where it is not whole.
// Most records are short, so that it reads on only where one is not.
func (f *recordFile) read(at int64) (version, bool, error) {
	b := make([]byte, recordUnit)
	if _, err := f.file.ReadAt(b, at); err != nil {
		return version{}, false, err
	}
	if length := storedLength(b); length > recordUnit && length <= f.half {
		b = make([]byte, length)
		if _, err := f.file.ReadAt(b, at); err != nil {
			return version{}, false, err
		}
	}
	v, whole := decodeHalf(b)
	return v, whole, nil
}

// put writes the next version over the older one. It is not durable.
func (f *recordFile) put(newest version, record []byte) error {
	at := f.half
	if newest.second {
		at = 0
	}
	_, err := f.file.WriteAt(encodeHalf(version{generation: newest.generation + 1, stored: record}), at)
	return err
}

// saveRecord stores the next version of a record durably. Where that can't be
// done in place, because it is too long or nobody knows any more which version
// is on the disk, a new file takes the place of the old one.
func (s *Sink) saveRecord(id session.ID, record []byte) error {
	dir, done, err := s.directory(id)
	if err != nil {
		return err
	}
	defer done()
	f, err := openRecord(dir, os.O_RDWR)
	if err != nil {
		return err
	}
	defer release(f.file)
	if _, unsure := s.unsure.Load(id); unsure || int64(recordHeader+len(record)) > f.half {
		return s.replaceRecord(dir, id, record)
	}
	newest, err := f.newest()
	if err != nil {
		return err
	}
	if err := f.put(newest, record); err != nil {
		return err
	}
	if err := s.durable.do(func() error { return syncBytes(f.file) }); err != nil {
		// The next save must not write over the version that is on the disk.
		s.unsure.Store(id, nil)
		return err
	}
	return nil
}

// replaceRecord puts a new file in the place of the one that has the record.
func (s *Sink) replaceRecord(dir *os.Root, id session.ID, record []byte) error {
	if err := removeFile(dir, spareName); err != nil {
		return err
	}
	f, err := openOrCreate(dir, spareName)
	if err != nil {
		return err
	}
	defer release(f)
	if err := writeFirstRecord(f, record); err != nil {
		return errors.Join(err, removeFile(dir, spareName))
	}
	if err := s.durable.do(func() error { return syncFile(f) }); err != nil {
		return err
	}
	if err := rename(dir, spareName, recordName); err != nil {
		return err
	}
	if err := s.durable.do(func() error { return syncDirectory(dir) }); err != nil {
		s.unsure.Store(id, nil) // which of the two files is on the disk
		return err
	}
	s.unsure.Delete(id)
	return nil
}
