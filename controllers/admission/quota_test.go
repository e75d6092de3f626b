package admission

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/slipway-dev/slipway/api/v1alpha1"
)

// desk is a namespace in short words: sessions are asked in the order in which
// they came, a second apart.
type desk struct {
	*Ledger
	came     int
	sessions map[string]*v1alpha1.UploadSession
}

func newDesk(stores ...*v1alpha1.UploadStore) *desk {
	d := &desk{Ledger: NewLedger(), sessions: map[string]*v1alpha1.UploadSession{}}
	for _, s := range stores {
		d.SetStore(s)
	}
	return d
}

func named(name string, s *v1alpha1.UploadStore) *v1alpha1.UploadStore {
	s.Name, s.Spec.Volume.ClaimName = name, name
	for i := range s.Status.Replicas {
		s.Status.Replicas[i].Name = name + "-" + s.Status.Replicas[i].Name
	}
	return s
}

// comes lets a session come that asks for so many bytes of a store.
func (d *desk) comes(name, owner, store string, size int64) {
	d.came++
	s := asks(size)
	s.Name, s.UID, s.Spec.Owner, s.Spec.StoreRef.Name = name, types.UID(name), owner, store
	s.CreationTimestamp = metav1.NewTime(noon.Add(time.Duration(d.came) * time.Second))
	s.ResourceVersion = fmt.Sprint(d.came)
	d.sessions[name] = s
	d.Observe(s)
}

// starts asks for a session, and writes what it is granted.
func (d *desk) starts(name string) string {
	s := d.sessions[name]
	granted, refusal := d.Ask(s, noon)
	if refusal != nil {
		d.shows(s, refusal)
		return refusal.Reason + " " + refusal.Message()
	}
	s.Status.Admission = granted
	d.written(s)
	d.Settle(s, Settled{Version: s.ResourceVersion})
	d.Observe(s)
	return "started"
}

func (d *desk) shows(s *v1alpha1.UploadSession, refusal *Refusal) {
	s.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionAdmitted, Reason: refusal.Reason, Message: refusal.Message()}}
	if refusal.Final {
		s.Status.CompletionTime = metav1.NewTime(noon)
	}
	d.written(s)
	d.Observe(s)
}

func (d *desk) written(s *v1alpha1.UploadSession) {
	d.came++
	s.ResourceVersion = fmt.Sprint(d.came)
}

// ends lets a session end without an object.
func (d *desk) ends(name string) {
	s := d.sessions[name]
	s.Status.Result.Outcome = v1alpha1.UploadOutcomeAborted
	d.written(s)
	d.Observe(s)
}

// next is who may start now, as a look finds it.
func (d *desk) next() []string {
	names, _ := d.Look("ml", noon, 100, 100)
	return slices.DeleteFunc(names, func(name string) bool {
		granted, _ := d.Ask(d.sessions[name], noon)
		d.Settle(d.sessions[name], Settled{})
		d.find(d.sessions[name]).named = time.Time{} // as if nobody had looked
		return granted.Replica == ""
	})
}

func quota(name string, changes ...func(*v1alpha1.UploadQuotaSpec)) *v1alpha1.UploadQuota {
	q := &v1alpha1.UploadQuota{ObjectMeta: metav1.ObjectMeta{Namespace: "ml", Name: name}}
	q.Spec.OnExceeded = v1alpha1.QuotaExceededPolicyQueue
	for _, change := range changes {
		change(&q.Spec)
	}
	return q
}

func active(n int32) func(*v1alpha1.UploadQuotaSpec) {
	return func(s *v1alpha1.UploadQuotaSpec) { s.Hard.ActiveSessions = &n }
}

func activeOfOwner(n int32) func(*v1alpha1.UploadQuotaSpec) {
	return func(s *v1alpha1.UploadQuotaSpec) { s.Hard.ActiveSessionsPerOwner = &n }
}

func bytes(n int64) func(*v1alpha1.UploadQuotaSpec) {
	return func(s *v1alpha1.UploadQuotaSpec) { s.Hard.ReservedBytes = &n }
}

func bytesOfOwner(n int64) func(*v1alpha1.UploadQuotaSpec) {
	return func(s *v1alpha1.UploadQuotaSpec) { s.Hard.ReservedBytesPerOwner = &n }
}

func object(n int64) func(*v1alpha1.UploadQuotaSpec) {
	return func(s *v1alpha1.UploadQuotaSpec) { s.Hard.ObjectBytes = n }
}

func ofStoreNamed(name string) func(*v1alpha1.UploadQuotaSpec) {
	return func(s *v1alpha1.UploadQuotaSpec) { s.StoreRef.Name = name }
}

func rejects(s *v1alpha1.UploadQuotaSpec) { s.OnExceeded = v1alpha1.QuotaExceededPolicyReject }

// Each limit lets in what fits to the last, and says what is needed, free and where.
func TestEachLimit(t *testing.T) {
	for _, test := range []struct {
		name  string
		quota *v1alpha1.UploadQuota
		says  string // of the third session, after two of alice's
	}{
		{"sessions", quota("team", active(2)), `QuotaExceeded Waits for activeSessions of UploadQuota "team": needs 1, 0 of 2 were free at 2026-11-23T12:00:00Z`},
		{"sessions that fit", quota("team", active(3)), "started"},
		{"sessions of an owner", quota("team", activeOfOwner(2)), `Waits for activeSessionsPerOwner of UploadQuota "team": needs 1, 0 of 2`},
		{"sessions of an owner that fit", quota("team", activeOfOwner(3)), "started"},
		{"bytes", quota("team", bytes(299)), `Waits for reservedBytes of UploadQuota "team": needs 100, 99 of 299 were free`},
		{"bytes that fit", quota("team", bytes(300)), "started"},
		{"bytes of an owner", quota("team", bytesOfOwner(299)), `Waits for reservedBytesPerOwner of UploadQuota "team": needs 100, 99 of 299`},
		{"bytes of an owner that fit", quota("team", bytesOfOwner(300)), "started"},
		{"sessions of a store", quota("team", active(2), ofStoreNamed("models")), `Waits for activeSessions of UploadQuota "team"`},
		{"bytes of an owner in a store", quota("team", bytesOfOwner(299), ofStoreNamed("models")), `Waits for reservedBytesPerOwner`},
		{"another store's", quota("team", active(0), bytes(0), object(1), ofStoreNamed("other")), "started"},
		{"sessions, and no queue", quota("team", active(2), rejects), `QuotaRejected UploadQuota "team" rejects what it has no room for: the session needs 1 of activeSessions, and 0 of 2 are free`},
		{"bytes, and no queue", quota("team", bytes(299), rejects), "QuotaRejected"},
		{"sessions of an owner, and no queue", quota("team", activeOfOwner(2), rejects), "QuotaRejected"},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := newDesk(store(1000, "a"))
			d.SetQuota(test.quota)
			for _, name := range []string{"1", "2"} {
				d.comes(name, "alice", "models", 100)
				if got := d.starts(name); got != "started" {
					t.Fatalf("session %s: %s", name, got)
				}
			}
			d.comes("3", "alice", "models", 100)
			if got := d.starts("3"); !strings.Contains(got, test.says) {
				t.Errorf("the third session: %s\nwant %s", got, test.says)
			}
		})
	}
}

func TestTheLargestObject(t *testing.T) {
	d := newDesk(store(1000, "a"))
	d.SetQuota(quota("team", object(100)))
	d.comes("fits", "", "models", 100)
	d.comes("large", "", "models", 101)
	d.comes("after", "", "models", 100)
	if got := d.starts("large"); !strings.HasPrefix(got, `QuotaExceeded Waits for UploadQuota "team" to be raised: needs 101 of objectBytes, and the quota allows 100`) {
		t.Error(got)
	}
	for _, name := range []string{"fits", "after"} {
		if got := d.starts(name); got != "started" {
			t.Errorf("%s: %s", name, got)
		}
	}
	d.SetQuota(quota("team", object(100), rejects))
	if got := d.starts("large"); !strings.HasPrefix(got, "QuotaRejected ") {
		t.Error(got)
	}
}

func TestEveryQuotaHolds(t *testing.T) {
	d := newDesk(store(1000, "a"))
	d.SetQuota(quota("wide", active(100), bytes(1000)))
	d.SetQuota(quota("narrow", active(1)))
	d.SetQuota(quota("models", bytes(50), ofStoreNamed("models")))
	d.comes("1", "", "models", 40)
	d.comes("2", "", "models", 10)
	d.starts("1")
	if got := d.starts("2"); !strings.Contains(got, `activeSessions of UploadQuota "narrow"`) {
		t.Error(got)
	}
	d.SetQuota(quota("narrow", active(2)))
	if got := d.starts("2"); got != "started" {
		t.Error(got)
	}
	d.comes("3", "", "models", 1)
	if got := d.starts("3"); !strings.Contains(got, `reservedBytes of UploadQuota "models": needs 1, 0 of 50`) {
		t.Error(got)
	}
	d.DropQuota(&v1alpha1.UploadQuota{ObjectMeta: metav1.ObjectMeta{Namespace: "ml", Name: "models", UID: "another"}})
	if got := d.starts("3"); !strings.Contains(got, `UploadQuota "models"`) {
		t.Errorf("a quota went with another that had its name before: %s", got)
	}
	d.DropQuota(quota("models"))
	if got := d.starts("3"); !strings.Contains(got, `UploadQuota "narrow"`) {
		t.Error(got)
	}
}

// A session that a limit could not hold alone is in nobody's way.
func TestTheImpossibleIsInNobodysWay(t *testing.T) {
	d := newDesk(store(1000, "a"))
	d.SetQuota(quota("team", bytes(500)))
	d.comes("huge", "", "models", 501)
	d.comes("small", "", "models", 500)
	if got := d.starts("huge"); !strings.Contains(got, "others don't wait for it") {
		t.Error(got)
	}
	if got := d.starts("small"); got != "started" {
		t.Error(got)
	}
	d.ends("small")
	d.SetQuota(quota("team", bytes(501)))
	if got := d.next(); !slices.Equal(got, []string{"huge"}) {
		t.Errorf("%v may start, want huge", got)
	}
}

// A large session is passed by nobody who takes what it waits for.
func TestTheLargeIsNotStarvedByTheSmall(t *testing.T) {
	d := newDesk(store(1000, "a"))
	for _, name := range []string{"a", "b"} {
		d.comes(name, name, "models", 500)
		d.starts(name)
	}
	d.comes("large", "l", "models", 900)
	d.comes("small", "s", "models", 1)
	d.ends("a")
	if got := d.next(); len(got) != 0 {
		t.Errorf("%v may start", got)
	}
	if got := d.starts("small"); !strings.Contains(got, "earlier sessions wait for it too") {
		t.Error(got)
	}
	d.ends("b")
	if got := d.next(); !slices.Equal(got, []string{"large", "small"}) {
		t.Errorf("%v may start, want large, small", got)
	}
}

// Who is asked first does not matter: what comes to those before is set aside.
func TestTheOrderOfQuestionsDoesNotMatter(t *testing.T) {
	d := newDesk(store(1000, "a"))
	d.SetQuota(quota("team", active(1)))
	d.comes("first", "", "models", 1)
	d.comes("second", "", "models", 1)
	if got := d.starts("second"); got == "started" {
		t.Error("the second session starts before the first")
	}
	if got := d.starts("first"); got != "started" {
		t.Error(got)
	}
}

// An owner at their own limit, and a full store, hold up nobody else.
func TestNobodyWaitsInAnothersLine(t *testing.T) {
	d := newDesk(named("full", store(100, "a")), named("roomy", store(1000, "a")))
	d.SetQuota(quota("team", active(4), activeOfOwner(1), bytes(500)))
	d.comes("alice-1", "alice", "roomy", 10)
	d.comes("alice-2", "alice", "roomy", 10) // at alice's limit
	d.comes("bob-1", "bob", "full", 100)
	d.comes("carol-1", "carol", "full", 50) // the volume is full
	d.comes("dave-1", "dave", "roomy", 10)
	d.comes("erin-1", "erin", "roomy", 380) // as much as the quota has left beside the others
	var started []string
	for _, name := range []string{"alice-1", "alice-2", "bob-1", "carol-1", "dave-1", "erin-1"} {
		if d.starts(name) == "started" {
			started = append(started, name)
		}
	}
	if want := []string{"alice-1", "bob-1", "dave-1", "erin-1"}; !slices.Equal(started, want) {
		t.Errorf("%v start, want %v", started, want)
	}
}

// What a session was given at the doors that it has passed is kept while it
// waits at the next: else another session of its owner's would take it, turn by turn.
func TestWhatWasPassedIsKept(t *testing.T) {
	d := newDesk(named("full", store(100, "a")), named("roomy", store(1000, "a")))
	d.SetQuota(quota("team", activeOfOwner(2)))
	d.comes("holds", "bob", "full", 100)
	d.starts("holds")
	d.comes("runs", "alice", "roomy", 1)
	d.starts("runs")
	d.comes("waits", "alice", "full", 100) // for the volume, with alice's second place
	d.starts("waits")
	d.comes("late", "alice", "roomy", 1)
	if got := d.starts("late"); !strings.Contains(got, "activeSessionsPerOwner") {
		t.Errorf("late: %s; it takes the place that is kept", got)
	}
	d.ends("holds")
	if got := d.next(); !slices.Equal(got, []string{"waits"}) {
		t.Errorf("%v may start, want waits", got)
	}
}

// passed lets a session be granted while one that came before it is suspended,
// and lets that one go on: what is set aside for who comes first protects nothing here.
func passed(t *testing.T) (d *desk, earlier, granted *v1alpha1.UploadSession) {
	t.Helper()
	d = newDesk(store(100, "a"))
	d.comes("1", "", "models", 100)
	d.comes("2", "", "models", 100)
	earlier, granted = d.sessions["1"], d.sessions["2"]
	d.wants(earlier, v1alpha1.DesiredStateSuspended)
	if admission, _ := d.Ask(granted, noon); admission.Replica == "" {
		t.Fatal("the second session is refused")
	}
	d.wants(earlier, v1alpha1.DesiredStateActive)
	return d, earlier, granted
}

func (d *desk) wants(s *v1alpha1.UploadSession, state v1alpha1.DesiredState) {
	s.Spec.DesiredState = state
	d.written(s)
	d.Observe(s)
}

func TestAGrantCountsAtOnce(t *testing.T) {
	d, _, _ := passed(t)
	if got := d.starts("1"); got == "started" {
		t.Error("the same room is given twice")
	}
}

// A write without an answer may have happened: it counts until the session's
// own next version tells.
func TestALostWriteCounts(t *testing.T) {
	d, _, granted := passed(t)
	d.Settle(granted, Settled{Lost: true, Against: granted.ResourceVersion})
	d.Observe(granted) // as it was
	if got := d.starts("1"); got == "started" {
		t.Fatal("the same room is given twice")
	}
	// A second attempt that is refused says nothing of the first.
	d.Ask(granted, noon)
	d.Settle(granted, Settled{})
	if got := d.starts("1"); got == "started" {
		t.Fatal("the same room is given twice after a refused retry")
	}
	d.written(granted) // by somebody else: the write can't happen any more
	d.Observe(granted)
	if got := d.starts("1"); got != "started" {
		t.Error(got)
	}
}

// A write that succeeded counts although the ledger sees an older version yet.
func TestAWrittenGrantCountsUntilItIsSeen(t *testing.T) {
	d, _, granted := passed(t)
	seen := granted.DeepCopy()
	d.written(granted)
	d.Settle(granted, Settled{Version: granted.ResourceVersion})
	d.Observe(seen)
	if got := d.starts("1"); got == "started" {
		t.Error("the same room is given twice")
	}
}

// The finalizer is written between the grant and the admission, and its event
// comes in between: it must not end the assumption.
func TestAGrantOutlivesWhatIsWrittenBeforeIt(t *testing.T) {
	d, _, granted := passed(t)
	d.written(granted)
	d.Observe(granted)
	if got := d.starts("1"); got == "started" {
		t.Error("the same room is given twice")
	}
}

// Who is refused while an earlier write is in doubt says so, which is a write of its own.
func TestARefusalInDoubtIsWritten(t *testing.T) {
	d, _, granted := passed(t)
	d.Settle(granted, Settled{Lost: true, Against: granted.ResourceVersion})
	d.SetQuota(quota("team", active(0)))
	if _, refusal := d.Ask(granted, noon); refusal == nil || !refusal.InDoubt {
		t.Errorf("the refusal is %+v", refusal)
	}
	d.written(granted)
	d.Observe(granted)
	if _, refusal := d.Ask(granted, noon); refusal == nil || refusal.InDoubt {
		t.Errorf("after a write the refusal is %+v", refusal)
	}
}

func TestARefusedWriteIsForgotten(t *testing.T) {
	d := newDesk(store(100, "a"))
	d.comes("1", "", "models", 100)
	d.comes("2", "", "models", 100)
	d.Ask(d.sessions["1"], noon)
	d.Settle(d.sessions["1"], Settled{})
	d.Gone(d.sessions["1"])
	if got := d.starts("2"); got != "started" {
		t.Error(got)
	}
}

// What is published counts as available in a report from before.
func TestAPublishedObjectCountsUntilAReportShowsIt(t *testing.T) {
	d := newDesk(store(1000, "a"))
	at := func(after time.Duration, available int64) {
		d.SetReport("ml", "a", Report{
			Store: "models", AvailableBytes: available, MeasuredAt: noon.Add(after), Version: reportVersion(after),
		})
	}
	at(0, 1000)
	d.comes("1", "", "models", 600)
	d.starts("1")
	s := d.sessions["1"]
	s.Status.Result = v1alpha1.UploadSessionResult{Outcome: v1alpha1.UploadOutcomePublished, PublishedTime: metav1.NewTime(noon.Add(time.Minute))}
	d.written(s)
	d.Observe(s)
	d.comes("2", "", "models", 600)
	if got := d.starts("2"); got == "started" {
		t.Error("the room of a published object is given away")
	}
	at(time.Minute+time.Second/2, 1000) // in the second of the publication
	if got := d.starts("2"); got == "started" {
		t.Error("a report of the same second is trusted")
	}
	d.Gone(s) // the resource goes, the object stays
	if got := d.starts("2"); got == "started" {
		t.Error("the room of a published object is given away with its resource")
	}
	at(time.Minute+time.Second, 1000) // somebody deleted objects of that size
	if got := d.starts("2"); got != "started" {
		t.Error(got)
	}
}

func TestTheReserveStaysFree(t *testing.T) {
	d := newDesk(changed(store(1000, "a"), func(s *v1alpha1.UploadStore) { s.Spec.Limits.MinFreeBytes = ptr.To[int64](100) }))
	d.comes("1", "", "models", 901)
	d.comes("2", "", "models", 900)
	if got := d.starts("1"); !strings.Contains(got, "would have 900 free") {
		t.Error(got)
	}
	if got := d.starts("2"); got != "started" {
		t.Error(got)
	}
}

// Who can't start even alone is told what would help.
func TestWhatWouldMakeRoom(t *testing.T) {
	for _, test := range []struct {
		what                         string
		capacity, available, minFree int64
		needs                        int64
		says                         string
	}{
		{
			"minFreeBytes above what is free", 1000, 900, 5000, 10,
			`Waits for limits.minFreeBytes of UploadStore "models" to be lower, or its volume larger: ` +
				`needs 10, and the volume would have 0 free with no session above the 5000 that limits.minFreeBytes keeps free; `,
		},
		{
			"an empty volume would do but for minFreeBytes", 1000, 900, 200, 801,
			`Waits for limits.minFreeBytes of UploadStore "models" to be lower, or its volume larger: needs 801, and the volume would have 700 free`,
		},
		{
			"either helps", 1000, 900, 200, 800,
			`Waits for objects in UploadStore "models" to be deleted, or its limits.minFreeBytes to be lower: needs 800, and the volume would have 700 free`,
		},
		{
			"minFreeBytes, and nobody has said how large the volume is", 0, 900, 5000, 10,
			`Waits for objects in UploadStore "models" to be deleted, or its limits.minFreeBytes to be lower: needs 10, `,
		},
		{
			"nothing is kept free", 1000, 900, 0, 901,
			`Waits for objects in UploadStore "models" to be deleted: needs 901, and the volume would have 900 free with no session; others`,
		},
		{
			"the volume is too small", 1000, 900, 200, 1001,
			`Waits for the volume of UploadStore "models" to be larger: needs 1001, `,
		},
	} {
		d := newDesk(changed(store(test.available, "a"), func(s *v1alpha1.UploadStore) {
			s.Spec.Limits.MinFreeBytes = &test.minFree
			if test.capacity > 0 {
				s.Status.CapacityBytes = &test.capacity
			}
		}))
		d.comes("1", "", "models", test.needs)
		d.starts("1")
		if got := d.sessions["1"].Status.Conditions[0].Message; !strings.HasPrefix(got, test.says) {
			t.Errorf("%s:\n%s\nwant\n%s", test.what, got, test.says)
		}
	}
}

// Nobody is told to try again what can never be.
func TestWhatAQuotaCouldNeverHold(t *testing.T) {
	for counts, q := range map[string]*v1alpha1.UploadQuota{
		"reservedBytes": quota("team", bytes(100), rejects),
		"objectBytes":   quota("team", rejects, func(q *v1alpha1.UploadQuotaSpec) { q.Hard.ObjectBytes = 100 }),
	} {
		d := newDesk(store(1000, "a"))
		d.SetQuota(q)
		d.comes("1", "", "models", 101)
		want := `UploadQuota "team" rejects what it could never hold: the session needs 101 of ` + counts + `, and the quota allows 100 in all. ` +
			`Create one that needs less, or have the quota raised first.`
		if got := d.starts("1"); !strings.HasSuffix(got, want) {
			t.Errorf("it is told %q, want %q", got, want)
		}
	}
}

// An older version, and a session that is gone, don't come back.
func TestThePastDoesNotComeBack(t *testing.T) {
	d := newDesk(store(100, "a"))
	d.comes("1", "", "models", 100)
	before := d.sessions["1"].DeepCopy()
	d.starts("1")
	d.Observe(before)
	d.comes("2", "", "models", 100)
	if names, _ := d.Look("ml", noon, 9, 9); slices.Contains(names, "1") {
		t.Error("an older version took back an admission")
	}
	d.Gone(d.sessions["1"])
	if known, _ := d.Refresh(d.sessions["1"]); known {
		t.Error("a session that is gone came back")
	}
	if got := d.starts("2"); got != "started" {
		t.Error(got)
	}
}

// Those who wait in a line behind others are told when they wait for something
// else, few at a time.
func TestThoseBehindAreToldFewAtATime(t *testing.T) {
	d := newDesk(store(1000, "a"))
	d.SetQuota(quota("team", active(0), bytes(1)))
	for i := range 30 {
		name := fmt.Sprintf("%02d", i)
		d.comes(name, "", "models", 1)
		d.starts(name)
	}
	if names, more := d.Look("ml", noon, 100, 10); len(names) > 30 || more {
		t.Fatalf("%v are woken although nothing changed, more: %v", names, more)
	}
	for i := range 30 { // impossible sessions are told themselves; now they stand in line
		d.starts(fmt.Sprintf("%02d", i))
	}
	d.SetQuota(quota("team", active(1)))
	if got := d.starts("00"); got != "started" {
		t.Fatal(got)
	}
	for rounds := 0; ; rounds++ {
		names, more := d.Look("ml", noon, 100, 10)
		if len(names) > 11 {
			t.Fatalf("%d are woken at once", len(names))
		}
		for _, name := range names {
			d.starts(name)
		}
		if !more && len(names) == 0 {
			break
		}
		if rounds > 10 {
			t.Fatal("the look never ends")
		}
	}
	for i := 1; i < 30; i++ {
		c := d.sessions[fmt.Sprintf("%02d", i)].Status.Conditions[0]
		if !strings.HasPrefix(c.Message, `Waits for activeSessions of UploadQuota "team"`) {
			t.Errorf("session %d: %s", i, c.Message)
		}
	}
}

// A session behind others that can't start any more even when they do is told so, or ended.
func TestWhoIsBehindHearsOfALimitOfItsOwn(t *testing.T) {
	for _, test := range []struct {
		quota *v1alpha1.UploadQuota
		says  string
	}{
		{quota("team", bytes(50)), `Waits for UploadQuota "team" to be raised: needs 60 of reservedBytes, and the quota allows 50`},
		{quota("team", bytes(50), rejects), `UploadQuota "team" rejects what it could never hold: the session needs 60 of reservedBytes`},
	} {
		d := newDesk(store(1000, "a"))
		d.SetQuota(quota("slots", active(1)))
		for _, name := range []string{"holds", "first", "second"} {
			d.comes(name, "", "models", map[string]int64{"holds": 10, "first": 10, "second": 60}[name])
			d.starts(name)
		}
		d.SetQuota(test.quota)
		names, _ := d.Look("ml", noon, 100, 100)
		if !slices.Equal(names, []string{"second"}) {
			t.Errorf("%v are woken, want the second", names)
		}
		for _, name := range names {
			d.starts(name)
		}
		if got := d.sessions["second"].Status.Conditions[0].Message; !strings.HasPrefix(got, test.says) {
			t.Errorf("the second session is told %q, want %q", got, test.says)
		}
	}
}

// What a quota that rejects has no room for when a session comes ends the session; what others
// take of it later does not, until it is the session's turn.
func TestOneThatWaitsIsRejectedAtItsTurnOnly(t *testing.T) {
	d := newDesk(named("full", store(100, "a")), named("roomy", store(1000, "a")))
	d.SetQuota(quota("team", bytes(220), rejects))
	d.comes("holds", "", "full", 100)
	d.starts("holds")
	d.comes("first", "", "full", 20)
	d.starts("first")
	d.comes("waits", "", "full", 90)
	if got := d.starts("waits"); !strings.HasPrefix(got, v1alpha1.ReasonInsufficientSpace) {
		t.Fatal(got)
	}
	d.comes("passes", "", "roomy", 40)
	if got := d.starts("passes"); got != "started" {
		t.Fatal(got)
	}
	if got := d.starts("waits"); !strings.HasPrefix(got, v1alpha1.ReasonInsufficientSpace) {
		t.Errorf("it is asked again before its turn: %s", got)
	}
	d.comes("comes later", "", "full", 90)
	if got := d.starts("comes later"); !strings.HasPrefix(got, v1alpha1.ReasonQuotaRejected) {
		t.Errorf("another that comes now: %s", got)
	}
	d.ends("first")
	if got := d.starts("waits"); !strings.HasPrefix(got, v1alpha1.ReasonQuotaRejected) {
		t.Errorf("at its turn: %s", got)
	}
}
