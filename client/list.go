package client

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"
)

// ListOptions say which objects List tells of. The zero value is all of them.
type ListOptions struct {
	// Prefix is what their keys begin with.
	Prefix string
	// Grouped has the keys that have a slash after Prefix told of as one for all that are alike up to that slash, as
	// a directory is: see ObjectInfo.IsPrefix.
	Grouped bool
	// PageSize is how many are asked for at once, from 1 to 1000; 0 leaves it to the dataplane.
	PageSize int
}

// List tells of the objects in the order of the bytes of their keys, page by page as they are taken. What is there all
// the while is told of once; of what is published or removed meanwhile, what is so when its page is read. The last pair
// has the error, if there is one; a page that fails is asked for again first, as Config.Patience says.
func (s *Store) List(ctx context.Context, o ListOptions) iter.Seq2[ObjectInfo, error] {
	return func(yield func(ObjectInfo, error) bool) {
		next := ""
		for {
			page, err := s.page(ctx, o, next)
			if err == nil && page.Continue != "" && page.Continue == next {
				err = fmt.Errorf("the listing leads back to %q", next)
			}
			if err != nil {
				yield(ObjectInfo{}, err)
				return
			}
			for _, one := range page.infos() {
				if !yield(one, nil) {
					return
				}
			}
			if next = page.Continue; next == "" {
				return
			}
		}
	}
}

// objectPage is one page, as it is sent.
type objectPage struct {
	Objects []struct {
		Key          string    `json:"key"`
		SizeBytes    int64     `json:"sizeBytes"`
		Digest       string    `json:"digest"`
		ETag         string    `json:"etag"`
		ModifiedTime time.Time `json:"modifiedTime"`
		Published    bool      `json:"published"`
	} `json:"objects"`
	Prefixes []string `json:"prefixes"`
	Continue string   `json:"continue"`
}

func (s *Store) page(ctx context.Context, o ListOptions, next string) (page objectPage, err error) {
	query := url.Values{}
	if o.Prefix != "" {
		query.Set("prefix", o.Prefix)
	}
	if o.Grouped {
		query.Set("delimiter", "/")
	}
	if o.PageSize != 0 {
		query.Set("limit", strconv.Itoa(o.PageSize))
	}
	if next != "" {
		query.Set("continue", next)
	}
	err = s.run(ctx, func(ctx context.Context) error {
		got, err := s.client.call(ctx, request{method: http.MethodGet, url: s.objectsURL() + "?" + query.Encode()})
		if err != nil {
			return err
		}
		page = objectPage{}
		return json.Unmarshal(got.body, &page)
	})
	return page, err
}

// infos is what a page tells, objects and prefixes in one order.
func (p objectPage) infos() []ObjectInfo {
	infos := make([]ObjectInfo, 0, len(p.Objects)+len(p.Prefixes))
	for _, one := range p.Objects {
		infos = append(infos, ObjectInfo{
			Key: one.Key, SizeBytes: one.SizeBytes, Digest: one.Digest, ETag: one.ETag,
			ModifiedTime: one.ModifiedTime, Published: one.Published,
		})
	}
	for _, prefix := range p.Prefixes {
		infos = append(infos, ObjectInfo{Key: prefix, IsPrefix: true})
	}
	slices.SortFunc(infos, func(a, b ObjectInfo) int { return cmp.Compare(a.Key, b.Key) })
	return infos
}
