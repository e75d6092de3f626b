// Package chunkapi is the native chunk protocol: HTTP over upload.Service.
//
// The base path is /v1/namespaces/{namespace}/uploadsessions/{name}. A POST to
// /v1/namespaces/{namespace}/uploadsessions creates a session; 201, or 200 where
// the same request did before.
//
//	PUT    .../chunks/{index}  one chunk; 201 new, 200 held already
//	GET    ...                 live status (HEAD: its headers)
//	POST   .../complete        verify and publish; 200, or 202 while that goes on
//	GET    .../content         the published object, with Range
//	DELETE ...                 abort; 204
//	POST   .../tickets         a ticket for somebody else; 201
//
// Every error is an RFC 9457 problem with a stable code. The one table in
// problem.go maps errors to statuses, codes and what to do next.
//
// What may not enter: deciding anything about uploads (that is package
// upload's), files, Kubernetes, and who the caller is and what they may do (that is package auth's,
// and asked through Config.Gate). The spec of a session passes through unread.
package chunkapi
