// Package rig is what the crash programs share. Each of them runs the
// dataplane as it ships, breaks something under it or around it, and checks
// that every promise that was given still holds:
//
//	func TestMain(m *testing.M) { rig.Main(m) }
//
//	world := rig.NewWorld(t)                      // a namespace on a real control plane
//	oracle := rig.NewOracle(rig.Seed(t))          // what was sent and what was promised
//	dataplane := world.Dataplane(volume)          // any directory, such as a mount of ours
//	load := rig.NewLoad(world, oracle, dataplane)
//	dataplane.Start(ctx)
//	load.TopUp(ctx)                               // sessions: created, admitted
//	load.Run(ctx)                                 // requests of all kinds, until the context is done
//	dataplane.Kill()                              // or whatever else ends it
//	dataplane.Start(ctx)
//	load.Check(ctx)                               // every promise, after each restart
//	load.Retire(ctx)                              // ended sessions: checked to the end, deleted
//	load.Finish(ctx); load.Clear(ctx)             // all complete, all right, nothing left
//
// There is no operator: the world plays it, so that a session is admitted when
// the program says so.
//
// The Oracle knows of each chunk which contents were ever sent whole with a
// right digest or none, which of them was acknowledged, and how a session ended as
// far as anybody was told: from then on all of it holds, whatever crashes. What breaks a
// promise is a violation: the first one ends the run, and its error has the
// seed and the history of its session.
//
// What may not enter: knowledge of how the dataplane works inside, and of how
// a program breaks it.
package rig
