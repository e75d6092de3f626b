// Package printed finds what a document prints, so that a test runs it word for word as a reader does.
package printed
