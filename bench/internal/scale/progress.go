package scale

import (
	"fmt"
	"io"
	"time"
)

// sayEvery is how often a phase tells how far it is.
const sayEvery = 5 * time.Second

// teller tells how far the run is.
type teller struct {
	out   io.Writer
	began time.Time
}

func (t *teller) say(format string, args ...any) {
	fmt.Fprintf(t.out, "scale: %4.0fs %s\n", time.Since(t.began).Seconds(), fmt.Sprintf(format, args...))
}

// watch tells how far a phase is, every few seconds until the function that
// it returns is called, which tells how long the phase took.
func (t *teller) watch(what string, of int, done func() int) (end func() time.Duration) {
	began, stop, stopped := time.Now(), make(chan struct{}), make(chan struct{})
	t.say("%s: begins", what)
	go func() {
		defer close(stopped)
		tick := time.NewTicker(sayEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				t.say("%s: %s", what, how(done(), of, time.Since(began)))
			case <-stop:
				return
			}
		}
	}()
	return func() time.Duration {
		took := time.Since(began)
		close(stop)
		<-stopped
		t.say("%s: done in %.1fs", what, took.Seconds())
		return took
	}
}

// how says how far something is and how much longer it takes at that pace.
func how(done, of int, took time.Duration) string {
	if done <= 0 {
		return fmt.Sprintf("0 of %d", of)
	}
	left := took.Seconds() / float64(done) * float64(max(0, of-done))
	return fmt.Sprintf("%d of %d, %.0f a second, %.0fs left", done, of, float64(done)/took.Seconds(), left)
}
