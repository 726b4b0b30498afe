package discovery

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/xlb-io/xlb/pkg/model"
)

// etcdTimeout is that of each question, and of the beginning of a watch.
const etcdTimeout = 5 * time.Second

// errCompacted: what is asked for has been forgotten, all must be read again.
var errCompacted = errors.New("compacted")

// etcdClient speaks to one endpoint in JSON, which every etcd translates from
// and to its own protocol.
type etcdClient struct {
	http     *http.Client
	endpoint string
	query    model.EtcdSource
	token    string
}

func newEtcdClient(q model.EtcdSource, endpoint string) *etcdClient {
	return &etcdClient{http: newHTTPClient(q.TLS, ""), endpoint: strings.TrimSuffix(endpoint, "/"), query: q}
}

func (c *etcdClient) close() { c.http.CloseIdleConnections() }

// Bytes are base64 in JSON, and long numbers are strings.
type (
	etcdPair struct {
		Key   []byte `json:"key"`
		Value []byte `json:"value"`
	}
	etcdEvent struct {
		Type string   `json:"type"` // DELETE, or absent
		Pair etcdPair `json:"kv"`
	}
	etcdHeader struct {
		Revision int64 `json:"revision,string"`
	}
	etcdRange struct {
		Key       []byte `json:"key"`
		End       []byte `json:"range_end"`
		CountOnly bool   `json:"count_only,omitempty"`
	}
)

// prefixEnd is the first key that does not begin with the prefix; all keys from
// the prefix on, for one that is nothing but 0xff.
func prefixEnd(prefix string) []byte {
	end := []byte(prefix)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i] < 0xff {
			end[i]++
			return end[:i+1]
		}
	}
	return []byte{0}
}

// authenticate gets a token, if there is a user.
func (c *etcdClient) authenticate(ctx context.Context) error {
	if c.query.Username == "" {
		return nil
	}
	c.token = ""
	password, err := c.password()
	if err != nil {
		return err
	}
	var answer struct {
		Token string `json:"token"`
	}
	if err := c.once(ctx, "auth/authenticate", map[string]string{"name": c.query.Username, "password": password}, &answer); err != nil {
		return fmt.Errorf("user %s: %w", c.query.Username, err)
	}
	c.token = answer.Token
	return nil
}

// password is read for each login: it may have been changed.
func (c *etcdClient) password() (string, error) {
	if c.query.PasswordFile == "" {
		return c.query.Password, nil
	}
	content, err := os.ReadFile(c.query.PasswordFile)
	if err != nil {
		return "", fmt.Errorf("password: %w", err)
	}
	line, _, _ := strings.Cut(string(content), "\n")
	return strings.TrimSuffix(line, "\r"), nil
}

// read returns all keys, and the revision of which they are.
func (c *etcdClient) read(ctx context.Context) ([]etcdPair, int64, error) {
	var answer struct {
		Header etcdHeader `json:"header"`
		Pairs  []etcdPair `json:"kvs"`
	}
	err := c.ask(ctx, "kv/range", etcdRange{Key: []byte(c.query.Prefix), End: prefixEnd(c.query.Prefix)}, &answer)
	return answer.Pairs, answer.Header.Revision, err
}

// revision asks for little: it tells whether a majority of the members answers.
func (c *etcdClient) revision(ctx context.Context) (int64, error) {
	var answer struct {
		Header etcdHeader `json:"header"`
	}
	err := c.ask(ctx, "kv/range", etcdRange{Key: []byte(c.query.Prefix), End: prefixEnd(c.query.Prefix), CountOnly: true}, &answer)
	return answer.Header.Revision, err
}

// ask asks again with a new token if the old one has run out.
func (c *etcdClient) ask(ctx context.Context, method string, request, answer any) error {
	err := c.once(ctx, method, request, answer)
	var refused *etcdError
	if c.token == "" || !errors.As(err, &refused) || !refused.token() {
		return err
	}
	if err := c.authenticate(ctx); err != nil {
		return err
	}
	return c.once(ctx, method, request, answer)
}

func (c *etcdClient) once(ctx context.Context, method string, request, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, etcdTimeout)
	defer cancel()
	response, err := c.post(ctx, method, request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	switch {
	case err != nil:
		return err
	case len(body) > maxAnswer:
		return fmt.Errorf("answer is longer than %d MiB", maxAnswer>>20)
	}
	return json.Unmarshal(body, answer)
}

// post returns a response that is not an error.
func (c *etcdClient) post(ctx context.Context, method string, request any) (*http.Response, error) {
	body, err := json.Marshal(request)
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.endpoint+"/v3/"+method, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	// A member that has lost the others is to end its watches.
	r.Header.Set("Grpc-Metadata-Hasleader", "true")
	if c.token != "" {
		r.Header.Set("Authorization", c.token)
	}
	response, err := c.http.Do(r)
	switch {
	case err != nil && errors.Is(err, context.DeadlineExceeded):
		return nil, errors.New("no answer in time")
	case err != nil:
		return nil, cause(err)
	case response.StatusCode == http.StatusOK:
		return response, nil
	}
	defer response.Body.Close()
	page, _ := io.ReadAll(io.LimitReader(response.Body, 4096))
	failure := &etcdError{status: response.StatusCode}
	if json.Unmarshal(page, failure) != nil || failure.Message == "" {
		failure.Message = fmt.Sprintf("%s: %s", response.Status, firstLine(page))
		if response.StatusCode == http.StatusNotFound {
			failure.Message = "no JSON API there (etcd 3.4 or later has it, unless started with --enable-grpc-gateway=false)"
		}
	}
	return nil, failure
}

// etcdError is what etcd answers instead.
type etcdError struct {
	Message string `json:"message"`
	status  int
}

func (e *etcdError) Error() string { return e.Message }

// token tells whether a new token may help.
func (e *etcdError) token() bool {
	return e.status == http.StatusUnauthorized || strings.Contains(e.Message, "revision in header is old")
}

// etcdStream is a watch. Who is done with it cancels its context and waits.
type etcdStream struct {
	messages chan etcdMessage
	done     sync.WaitGroup
}

// etcdMessage is what happened, or why no more is heard of it.
type etcdMessage struct {
	events   []etcdEvent
	revision int64
	err      error
}

func (s *etcdStream) wait() { s.done.Wait() }

// watch begins to watch from a revision on. It returns when etcd has confirmed
// that.
func (c *etcdClient) watch(ctx context.Context, from int64) (*etcdStream, error) {
	type create struct {
		etcdRange
		Start int64 `json:"start_revision,string"`
	}
	ctx, cancel := context.WithCancelCause(ctx)
	late := time.AfterFunc(etcdTimeout, func() { cancel(errors.New("no watch in time")) })
	response, err := c.post(ctx, "watch", map[string]any{"create_request": create{
		etcdRange{Key: []byte(c.query.Prefix), End: prefixEnd(c.query.Prefix)}, from,
	}})
	if err == nil {
		decoder := json.NewDecoder(response.Body)
		first := nextMessage(decoder)
		if err = first.err; err == nil && late.Stop() {
			return c.stream(ctx, cancel, response, decoder), nil
		}
		response.Body.Close()
	}
	late.Stop()
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	cancel(nil)
	return nil, err
}

func (c *etcdClient) stream(ctx context.Context, cancel context.CancelCauseFunc, response *http.Response, decoder *json.Decoder) *etcdStream {
	s := &etcdStream{messages: make(chan etcdMessage, 64)}
	s.done.Go(func() {
		defer cancel(nil)
		defer response.Body.Close()
		for {
			m := nextMessage(decoder)
			select {
			case s.messages <- m:
			case <-ctx.Done():
				return
			}
			if m.err != nil {
				return
			}
		}
	})
	return s
}

// nextMessage reads a message of a watch.
func nextMessage(decoder *json.Decoder) etcdMessage {
	var m struct {
		Result struct {
			Header    etcdHeader  `json:"header"`
			Events    []etcdEvent `json:"events"`
			Canceled  bool        `json:"canceled"`
			Reason    string      `json:"cancel_reason"`
			Compacted int64       `json:"compact_revision,string"`
		} `json:"result"`
		Error *etcdError `json:"error"`
	}
	err := decoder.Decode(&m)
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		err = errors.New("the watch ended")
	case err != nil:
		err = cause(err)
	case m.Error != nil:
		err = m.Error
	case m.Result.Compacted > 0:
		err = errCompacted
	case m.Result.Canceled:
		err = fmt.Errorf("the watch was ended: %s", m.Result.Reason)
	}
	return etcdMessage{events: m.Result.Events, revision: m.Result.Header.Revision, err: err}
}
