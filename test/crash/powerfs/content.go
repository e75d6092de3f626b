package powerfs

import (
	"math/rand/v2"
	"slices"
)

const (
	pageSize   = 4096
	sectorSize = 512
	// maxVersions bounds how many of the states that an unsynced page went through are kept.
	maxVersions = 4
)

// page is pageSize bytes that are never changed once they are stored; nil is zeros.
type page []byte

// content is the bytes of a file.
type content struct {
	size     int64
	pages    map[int64]page
	sureSize int64
	sure     map[int64]page

	// unsure holds what each page has been since it was made sure, the last as it is; sizes the
	// same of the size. limbo and limboSizes hold what a sync failed to make sure of them.
	unsure, limbo     map[int64][]page
	sizes, limboSizes []int64
}

func newContent() content {
	return content{pages: map[int64]page{}, sure: map[int64]page{}, unsure: map[int64][]page{}, limbo: map[int64][]page{}}
}

// read reads what the system sees.
func (c *content) read(at int64, b []byte) int {
	if at >= c.size {
		return 0
	}
	b = b[:min(int64(len(b)), c.size-at)]
	for done := 0; done < len(b); {
		index, offset := (at+int64(done))/pageSize, int((at+int64(done))%pageSize)
		n := min(pageSize-offset, len(b)-done)
		if p := c.pages[index]; p == nil {
			clear(b[done : done+n])
		} else {
			copy(b[done:done+n], p[offset:])
		}
		done += n
	}
	return len(b)
}

// write changes what the system sees.
func (c *content) write(at int64, b []byte) {
	for done := 0; done < len(b); {
		index, offset := (at+int64(done))/pageSize, int((at+int64(done))%pageSize)
		p := make(page, pageSize)
		copy(p, c.pages[index])
		n := copy(p[offset:], b[done:])
		c.put(index, p)
		done += n
	}
	if end := at + int64(len(b)); end > c.size {
		c.resize(end)
	}
}

// put gives a page what it is from now on. A page that was in limbo is written
// as a whole now, so that it can be made sure again.
func (c *content) put(index int64, p page) {
	c.pages[index] = p
	was := slices.Concat(c.limbo[index], c.unsure[index])
	delete(c.limbo, index)
	if len(was) == maxVersions {
		was = was[:maxVersions-1]
	}
	c.unsure[index] = append(was, p)
}

// resize changes the size that the system sees.
func (c *content) resize(size int64) {
	for index, p := range c.pages {
		switch start := index * pageSize; {
		case start >= size && p != nil:
			c.put(index, nil)
		case start < size && size-start < pageSize && p != nil && size < c.size:
			cut := make(page, pageSize)
			copy(cut, p[:size-start])
			c.put(index, cut)
		}
	}
	c.size = size
	c.sizes = append(c.sizes, size)
}

// sync makes sure what the system sees, but for what is in limbo.
func (c *content) sync() {
	for index := range c.unsure {
		c.sure[index] = c.pages[index]
	}
	clear(c.unsure)
	if len(c.sizes) > 0 {
		c.sureSize, c.sizes, c.limboSizes = c.size, nil, nil
	}
}

// isUnsure reports whether there is anything for a sync to do.
func (c *content) isUnsure() bool { return len(c.unsure) > 0 || len(c.sizes) > 0 }

// failSync leaves what the system sees as it is and never makes it sure.
func (c *content) failSync() {
	c.failPages()
	c.limboSizes = append(c.limboSizes, c.sizes...)
	c.sizes = nil
}

// failPages is failSync, but not of the size.
func (c *content) failPages() {
	for index, versions := range c.unsure {
		c.limbo[index] = append(c.limbo[index], versions...)
	}
	clear(c.unsure)
}

// survive is what a cut leaves of the bytes.
func (c *content) survive(m mood, random *rand.Rand) content {
	left := newContent()
	left.size = m.pick(random, c.sureSize, append(slices.Clone(c.limboSizes), c.sizes...))
	for index, p := range c.sure {
		left.pages[index] = p
	}
	open := map[int64][]page{}
	for _, of := range []map[int64][]page{c.limbo, c.unsure} {
		for index, versions := range of {
			open[index] = append(open[index], versions...)
		}
	}
	for _, index := range sorted(open) {
		left.pages[index] = m.page(random, c.sure[index], open[index])
	}
	left.trim()
	left.sureSize = left.size
	for index, p := range left.pages {
		left.sure[index] = p
	}
	return left
}

// trim clears what lies behind the end.
func (c *content) trim() {
	for index, p := range c.pages {
		switch room := c.size - index*pageSize; {
		case room <= 0 || p == nil:
			delete(c.pages, index)
		case room < pageSize:
			cut := make(page, pageSize)
			copy(cut, p[:room])
			c.pages[index] = cut
		}
	}
}
