package report

import (
	"fmt"
	"html"
	"math"
	"strings"

	"github.com/slipway-dev/slipway/bench/internal/load"
)

// The plot's measures in pixels.
const (
	plotWidth = 860
	labelEdge = 300 // where labels end and bars begin
	barsEdge  = 720 // where the longest bar ends
	rowHeight = 40
	topEdge   = 64
)

// Plot is a bar chart of one load as SVG: for each contender the throughput
// until the reply, and the one with a sync of the volume counted in.
func (r *Results) Plot(l load.Load) string {
	rows := r.in(l)
	most := 0.0
	for _, c := range rows {
		most = math.Max(most, math.Max(r.Rate(l, c.ID).Max, r.SyncedRate(l, c.ID).Max))
	}
	x := func(v float64) float64 { return labelEdge + (barsEdge-labelEdge)*v/math.Max(most, 1) }
	height := topEdge + rowHeight*len(rows) + 10

	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	p(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="sans-serif" font-size="13">`,
		plotWidth, height, plotWidth, height)
	p(`<title>%s</title>`, html.EscapeString(l.Title))
	p(`<rect width="%d" height="%d" fill="#ffffff"/>`, plotWidth, height)
	p(`<text x="16" y="26" font-size="16" font-weight="bold" fill="#1f2328">%s</text>`, html.EscapeString(l.Title))
	p(`<text x="16" y="46" fill="#59636e">%s, median and least to most. Dark: until the reply. Light: with a sync of the volume counted in.</text>`, unit(l))
	for i, c := range rows {
		top := float64(topEdge + i*rowHeight)
		p(`<text x="%d" y="%.0f" text-anchor="end" fill="#1f2328">%s</text>`, labelEdge-10, top+20, html.EscapeString(c.Title))
		dark, light := "#6e7781", "#d0d7de" // gray for what replies before it synced
		if c.Synced != "no" {
			dark, light = "#0969da", "#b6e3ff"
		}
		bar(p, x, top+4, dark, r.Rate(l, c.ID))
		bar(p, x, top+20, light, r.SyncedRate(l, c.ID))
	}
	p(`</svg>`)
	return b.String()
}

// bar draws the median with its spread and its figure.
func bar(p func(string, ...any), x func(float64) float64, top float64, color string, s Stat) {
	const thick = 13
	p(`<rect x="%.1f" y="%.1f" width="%.1f" height="%d" fill="%s"/>`, x(0), top, math.Max(1, x(s.Median)-x(0)), thick, color)
	middle := top + thick/2.0
	p(`<path d="M%.1f %.1fH%.1f" stroke="#1f2328" stroke-width="1"/>`, x(s.Min), middle, x(s.Max))
	p(`<text x="%.1f" y="%.1f" font-size="11" fill="#1f2328">%.0f</text>`, x(s.Max)+6, top+11, s.Median)
}
