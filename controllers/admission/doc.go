// Package admission decides who may start now: a session is admitted when
// every rule lets it pass, and gets a replica and the room it needs.
//
// The room is pure. A decision is a function of what was observed and the
// time; a client, a clock, a context or an error may not enter.
package admission
