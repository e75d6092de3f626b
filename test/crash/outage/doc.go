// Package outage takes the API server away from the dataplane in the middle of
// uploads: uploads that are known go on, end and can be read, also when the
// dataplane is killed meanwhile; of others nobody is told anything wrong; and
// when the API server is back the resources catch up by themselves, with one
// write for each session.
package outage
