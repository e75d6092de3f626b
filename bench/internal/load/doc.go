// Package load says what is uploaded: how many objects of which size, how many
// at once, and their bytes. It knows no server.
package load
