// Package fair takes slots back from those who hold them and hardly move: a few bytes now and then keep a
// connection alive for ever, and slots with it.
//
// A Crowd knows who holds a slot, how many bytes each has moved and for how long it was the client that everybody
// waited for. While somebody wants a slot and there is none, whoever averages less than Rule says is ended, the slowest
// first. Nobody is ended while there is room, for what the server itself takes time for, or for the sake of a request
// of their own upload. So a slow client that is alone goes on for as long as it moves at all.
//
// What may not enter: what the slots are for, and how a request is ended.
package fair
