package fair

import (
	"sync"
	"sync/atomic"
	"time"
)

// Crowd are those who hold slots of one kind. Make it with NewCrowd. Methods may be called concurrently.
type Crowd struct {
	rule  Rule
	now   func() time.Time
	began time.Time

	mu      sync.Mutex
	members map[*Member]struct{}
	ending  int // those who were ended and have not left
}

// NewCrowd returns an empty crowd. The clock now is time.Now where it is nil.
func NewCrowd(rule Rule, now func() time.Time) *Crowd {
	if now == nil {
		now = time.Now
	}
	return &Crowd{rule: rule, now: now, began: now(), members: map[*Member]struct{}{}}
}

// Member is one who holds a slot. Methods may be called concurrently, and do nothing on nil. Await and Moved cost a
// few atomic operations; where one goroutine reads while another writes, the member counts as waited for less.
type Member struct {
	crowd *Crowd
	whose string
	end   func()

	bytes  atomic.Int64
	waited atomic.Int64 // nanoseconds, without the wait that goes on
	since  atomic.Int64 // when the wait that goes on began, as of Crowd.elapsed; 0 where none does

	// Of the crowd, under its lock.
	seen  pace // what it had moved when it was last found fast enough
	ended bool
}

// Join takes a member in. It belongs to whose, such as an upload; nobody's
// where that is empty. At most once, from another goroutine, end is called without waiting for what it does: the
// member then leaves soon. It may be called until Leave returns.
func (c *Crowd) Join(whose string, end func()) *Member {
	m := &Member{crowd: c, whose: whose, end: end}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.members[m] = struct{}{}
	return m
}

// elapsed is the time since the crowd was made, in nanoseconds; never 0.
func (c *Crowd) elapsed() int64 { return max(1, int64(c.now().Sub(c.began))) }

// Await says that from now on the client is waited for, until Moved is called.
func (m *Member) Await() {
	if m != nil {
		m.since.CompareAndSwap(0, m.crowd.elapsed())
	}
}

// Moved says that so many bytes came or were taken, and that the client is not waited for any more.
func (m *Member) Moved(bytes int) {
	if m == nil {
		return
	}
	m.bytes.Add(int64(bytes))
	if since := m.since.Swap(0); since > 0 {
		m.waited.Add(m.crowd.elapsed() - since)
	}
}

// Leave says that the slot was given back; it may be called more than once.
func (m *Member) Leave() {
	if m == nil {
		return
	}
	c := m.crowd
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, here := c.members[m]; !here {
		return
	}
	delete(c.members, m)
	if m.ended {
		c.ending--
	}
}

// pace is what the member did in all. In doubt it is the faster one.
func (m *Member) pace(now int64) pace {
	waited := m.waited.Load() // before since: a wait that ends in between counts as none, and not twice
	if since := m.since.Load(); since > 0 {
		waited += max(0, now-since)
	}
	return pace{bytes: m.bytes.Load(), waited: time.Duration(waited)}
}

// GiveWay is called from time to time while somebody waits for a slot. It ends members that are too slow, the slowest
// first, but none of those who belong to whose: no more than wanted slots, with those that are about to be free.
func (c *Crowd) GiveWay(whose string, wanted int) {
	now := c.elapsed()
	c.mu.Lock()
	defer c.mu.Unlock()
	var members []*Member
	var paces []pace
	for m := range c.members {
		if m.ended || whose != "" && m.whose == whose {
			continue
		}
		all := m.pace(now)
		p := pace{bytes: all.bytes - m.seen.bytes, waited: all.waited - m.seen.waited}
		if c.rule.judge(p) == fastEnough {
			m.seen = all
		}
		members, paces = append(members, m), append(paces, p)
	}
	for _, i := range c.rule.slowest(paces, wanted-c.ending) {
		m := members[i]
		m.ended = true
		c.ending++
		m.end()
	}
}
