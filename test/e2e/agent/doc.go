// Package agent is what the end-to-end suite runs inside the cluster, as the
// containers of Pods: it uploads, reads what is on a volume, fills one, makes single
// requests. Each command ends with a report, a line of JSON, which the suite
// reads from the Pod's log, so that the image needs no shell.
//
// What may not enter: any check. The suite decides what a report should say.
package agent
