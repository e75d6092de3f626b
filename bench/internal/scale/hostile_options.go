package scale

import (
	"errors"
	"time"
)

// HostileOptions say what one namespace does to the operator while another works. DefaultHostile fills them in.
type HostileOptions struct {
	// Sessions is how many UploadSessions the hostile namespace makes, none of which can ever be admitted, and
	// Shape how large each is.
	Sessions int   `json:"sessions"`
	Shape    Shape `json:"shape"`
	// Created is how many of them are created through the API server. The others are put into etcd, as the API server
	// keeps one that was told what it waits for: a machine that does all by itself would need hours to create them.
	Created int `json:"created"`
	// Fat is how many sessions as large as the API server takes come on top; 0 leaves them out.
	Fat int `json:"fat"`
	// Admissions is how many sessions of the neighbour are admitted in each stage, one after the other.
	Admissions int `json:"admissions"`
	// Churn is for how long the hostile namespace makes, changes and deletes a store of theirs; 0 leaves it out.
	Churn time.Duration `json:"churn"`
	// Restarts is how often the operator is stopped and started with all sessions there.
	Restarts int `json:"restarts"`
	// CreatesPerSecond and Connections bound the hostile client.
	CreatesPerSecond float64 `json:"createsPerSecond"`
	Connections      int     `json:"connections"`
}

// Shape is how large a session is that its user makes large.
type Shape struct {
	// KeyBytes is the length of its key, at most 1024.
	KeyBytes int `json:"keyBytes"`
	// Attributes, of 256 four-byte characters each, are at most 16, and Uploaders, of 253 bytes each, too.
	Attributes int `json:"attributes"`
	Uploaders  int `json:"uploaders"`
	// Labels have 126 bytes each with their names, Finalizers 253.
	Labels     int `json:"labels"`
	Finalizers int `json:"finalizers"`
	// AnnotationBytes is the size of one annotation; the API server takes 256 KiB of all together.
	AnnotationBytes int `json:"annotationBytes"`
}

// Smallest is a session in which nothing is large.
func Smallest() Shape { return Shape{KeyBytes: 8} }

// Largest is one in which everything is about as large as the API server takes it. etcd has room for a few thousand.
func Largest() Shape {
	return Shape{KeyBytes: 1024, Attributes: 16, Uploaders: 16, Labels: 2500, Finalizers: 200, AnnotationBytes: 250 << 10}
}

// Many is one of which etcd has room for a hundred thousand, in several revisions.
func Many() Shape {
	return Shape{KeyBytes: 1024, Uploaders: 1, AnnotationBytes: 1 << 10}
}

// DefaultHostile is the load that counts.
func DefaultHostile() HostileOptions {
	return HostileOptions{
		Sessions: 100_000, Shape: Many(), Created: 1000, Fat: 300, Admissions: 200, Churn: 30 * time.Second, Restarts: 3,
		CreatesPerSecond: 2000, Connections: 32,
	}
}

// Check says what can't be measured.
func (o HostileOptions) Check() error {
	var errs []error
	for name, ok := range map[string]bool{
		"-sessions must be at least 1":            o.Sessions >= 1,
		"-created must be from 1 to -sessions":    o.Created >= 1 && o.Created <= o.Sessions,
		"-fat must not be negative":               o.Fat >= 0,
		"-admissions must be at least 1":          o.Admissions >= 1,
		"-churn must not be negative":             o.Churn >= 0,
		"-restarts must not be negative":          o.Restarts >= 0,
		"-creates-per-second must be >0":          o.CreatesPerSecond > 0,
		"-connections must be from 1 to 1000":     o.Connections >= 1 && o.Connections <= 1000,
		"the key must have from 8 to 1024 bytes":  o.Shape.KeyBytes >= 8 && o.Shape.KeyBytes <= 1024,
		"attributes and uploaders are at most 16": max(o.Shape.Attributes, o.Shape.Uploaders) <= 16,
	} {
		if !ok {
			errs = append(errs, errors.New(name))
		}
	}
	return errors.Join(errs...)
}

// ShapeOf is the shape with a name.
func ShapeOf(name string) (Shape, error) {
	switch name {
	case "smallest":
		return Smallest(), nil
	case "many":
		return Many(), nil
	case "largest":
		return Largest(), nil
	}
	return Shape{}, errors.New("-shape must be smallest, many or largest")
}
