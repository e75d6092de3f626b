package client

import (
	"context"
	"time"
)

// Hurry makes every pause of the client the given function's; it gets what the pause would have been.
func (c *Client) Hurry(wait func(ctx context.Context, d time.Duration) error) { c.wait = wait }

// Judge is judge, for tables: whether it is tried again, and whether that waits, is crowded or is elsewhere.
func Judge(err error) (again, waits, crowded, elsewhere bool) {
	v := judge(err)
	return v.again, v.waits, v.crowded, v.elsewhere
}

// ParseReprDigest is for the fuzz target.
var ParseReprDigest = parseReprDigest

// PartSize is how much one request of a download reads.
const PartSize = partSize
