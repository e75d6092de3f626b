// Package boundaries keeps the house as it was drawn: its test says which
// package may import what, and fails on an import or a package that the table
// does not list.
//
// The linter's depguard rules say the same to an editor; this test needs no
// linter and sees every build tag. No code enters this room, only tests.
package boundaries
