package session

import (
	"encoding/binary"
	"hash/crc32"
)

// Slot is what the ledger keeps of one held chunk.
type Slot struct {
	// Length is the length of the chunk in bytes.
	Length int64
	// Checksum is the chunk's checksum, of the kind that the Service was made with.
	Checksum uint64
}

// SlotSize is the size of an encoded slot in bytes. It divides the sector size,
// so that a slot never lies across two sectors.
const SlotSize = 32

const slotMagic = 0x31504c53 // "SLP1"

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// EncodeSlot returns a slot as it is stored. The session's ID and the chunk's
// index go into its check, so that a slot counts only in its own place.
func EncodeSlot(id ID, index int, s Slot) [SlotSize]byte {
	var b [SlotSize]byte
	binary.LittleEndian.PutUint32(b[0:], slotMagic)
	binary.LittleEndian.PutUint32(b[4:], uint32(index))
	binary.LittleEndian.PutUint64(b[8:], uint64(s.Length))
	binary.LittleEndian.PutUint64(b[16:], s.Checksum)
	binary.LittleEndian.PutUint32(b[28:], slotCheck(id, b[:28]))
	return b
}

// DecodeSlot reads a stored slot; false where it is absent, torn, damaged or
// of another place. b has SlotSize bytes.
func DecodeSlot(id ID, index int, b []byte) (Slot, bool) {
	if len(b) != SlotSize ||
		binary.LittleEndian.Uint32(b[0:]) != slotMagic ||
		binary.LittleEndian.Uint32(b[4:]) != uint32(index) ||
		binary.LittleEndian.Uint32(b[28:]) != slotCheck(id, b[:28]) {
		return Slot{}, false
	}
	s := Slot{Length: int64(binary.LittleEndian.Uint64(b[8:])), Checksum: binary.LittleEndian.Uint64(b[16:])}
	return s, s.Length > 0
}

func slotCheck(id ID, b []byte) uint32 {
	return crc32.Update(crc32.Checksum([]byte(id), castagnoli), castagnoli, b)
}
