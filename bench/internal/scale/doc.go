// Package scale loads the real operator, the real dataplane and a real control
// plane with thousands of UploadSessions, from their creation to their
// deletion, measures what that costs, and checks that the promises hold all
// the while. How fast the data path is, is not its subject.
package scale
