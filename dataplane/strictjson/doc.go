// Package strictjson reads the JSON that clients send, as the API server reads what is sent to it: each field at
// most once, no field that there is not, names as they are spelled, and whole numbers in whatever way they are
// written. What is wrong it says in the words of JSON.
//
// What may not enter: what the fields mean.
package strictjson
