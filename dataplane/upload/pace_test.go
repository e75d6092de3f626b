package upload

import "testing"

func TestAllowance(t *testing.T) {
	const mib, gib = 1 << 20, 1 << 30
	for _, test := range []struct{ missing, want int64 }{
		{0, 4 * mib},
		{1, 4 * mib},
		{16 * mib, 4 * mib},
		{16*mib + 4, 4*mib + 1},
		{48 * mib, 12 * mib},
		{gib - 4, 256*mib - 1},
		{gib, 256 * mib},
		{1 << 47, 256 * mib},
	} {
		if got := allowance(test.missing); got != test.want {
			t.Errorf("with %d bytes missing: got %d, want %d", test.missing, got, test.want)
		}
	}
}

func TestPace(t *testing.T) {
	const mib, gib, much = 1 << 20, 1 << 30, 1 << 40
	type look struct {
		done, could, missing int64
		late                 bool
	}
	for _, test := range []struct {
		what  string
		looks []look
	}{
		{"nothing yet", []look{{0, 0, much, false}}},
		{"nothing lags", []look{{16 * mib, 16 * mib, 0, false}}},
		{"in the middle", []look{{0, 256 * mib, much, false}, {0, 257 * mib, much, true}, {mib, 257 * mib, much, false}}},
		{"at the end", []look{{0, 4 * mib, 0, false}, {0, 5 * mib, 0, true}, {mib, 5 * mib, 0, false}}},
		{"near the end", []look{{0, 16 * mib, 64 * mib, false}, {0, 16 * mib, 48 * mib, true}}},
		{"much at once is not waited for", []look{
			{0, 10 * gib, much, false}, // as after a restart
			{0, 10*gib + 256*mib, much, false},
			{0, 10*gib + 257*mib, much, true},
			{mib, 10*gib + 257*mib, much, false},
		}},
		{"nor at the end", []look{{0, 10 * gib, 0, false}, {0, 10*gib + 5*mib, 0, true}}},
		{"what was caught up with is not owed again", []look{
			{0, 10 * gib, much, false},
			{10*gib - mib, 10 * gib, much, false},
			{10*gib - mib, 10*gib + 257*mib, much, true},
		}},
		{"a gap is filled once more", []look{
			{0, 10 * gib, much, false},
			{10 * gib, 10 * gib, much, false},
			{10 * gib, 12 * gib, much, false},
			{10 * gib, 12*gib + 257*mib, much, true},
		}},
		{"a gigabyte at once is waited for", []look{{0, gib, much, true}, {768 * mib, gib, much, false}}},
	} {
		var p pace
		for i, l := range test.looks {
			if got := p.late(l.done, l.could, l.missing); got != l.late {
				t.Errorf("%s: at look %d late is %v", test.what, i, got)
			}
		}
	}
}
