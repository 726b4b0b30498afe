package api

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"time"
)

// chunk is how much of a stream is sent at once, in bytes.
const chunk = 64 << 10

// flows streams. The flow table is read while the answer is written, without a
// lock: a slow reader holds up nobody but itself.
func (s *Server) flows(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	f := FlowFilter{Service: q.Get("service"), Backend: q.Get("backend"), Client: q.Get("client")}
	if text := q.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			s.fail(w, r, Errorf(http.StatusBadRequest, "limit %q is not a number from 0 up", text))
			return
		}
		f.Limit = n
	}
	flows, err := s.daemon.Flows(f)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	control := http.NewResponseController(w)
	var out bytes.Buffer
	flush := func() bool {
		_ = control.SetWriteDeadline(time.Now().Add(chunkTimeout))
		_, err := w.Write(out.Bytes())
		out.Reset()
		return err == nil && r.Context().Err() == nil
	}
	encoder := json.NewEncoder(&out)
	for one := range flows {
		if err := encoder.Encode(one); err != nil {
			s.log.Error("encode a flow", "error", err)
			panic(http.ErrAbortHandler) // the reader must see that the stream is not whole
		}
		if out.Len() >= chunk && !flush() {
			panic(http.ErrAbortHandler)
		}
	}
	if !flush() {
		panic(http.ErrAbortHandler)
	}
}
