package config

import (
	"net/url"
	"path/filepath"
	"slices"
	"time"

	"github.com/xlb-io/xlb/pkg/model"
)

type (
	// rawWatch is who is told of changes, and how much they matter, as it is
	// written.
	rawWatch struct {
		onChange opt[[]opt[rawHook]]
		critical opt[bool]
	}
	rawHook struct {
		command opt[[]opt[string]]
		webhook opt[string]
		headers opt[[]named[string]]
		states  opt[[]opt[model.HookEvent]]
		timeout opt[time.Duration]
		retries opt[int]
	}
)

// The defaults of a hook.
const (
	hookTimeout = 10 * time.Second
	hookRetries = 5
)

var hookEvents = []model.HookEvent{model.HookHealthy, model.HookUnhealthy, model.HookEjected, model.HookRole}

var (
	headerName    = str("header name", "^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}$", 128, "1 to 128 letters, digits or `-`")
	headerKind    = str("header value", `^[^\x00-\x08\x0a-\x1f\x7f]*$`, 4096, "up to 4096 bytes, no control characters")
	webhookKind   = textOf("URL", "`http://…` or `https://…`", `^https?://.+$`, webhookURL)
	hookEventKind = enum(model.HookHealthy, model.HookUnhealthy, model.HookEjected, model.HookDraining, model.HookDisabled, model.HookRole)
)

var hookKind = needed(object("on_change", "A program or a web server that is told of changes of backends; see docs/probes.md.",
	of("command", listOf(argumentKind.kind), func(h *rawHook) *opt[[]opt[string]] { return &h.command }, about{
		doc: "The program's absolute path and its arguments. It gets the change as JSON at its standard input and as `XLB_…` in its environment; nothing of it goes through a shell.", example: "[/usr/local/bin/backend-changed, --page]"}),
	of("webhook", webhookKind, func(h *rawHook) *opt[string] { return &h.webhook }, about{
		doc: "A URL to which the same JSON is sent by POST. An answer of 2xx is a success.", example: "https://alerts.example.com/xlb"}),
	of("headers", mapOf(headerName, headerKind.kind), func(h *rawHook) *opt[[]named[string]] { return &h.headers }, about{
		doc: "`webhook` only: headers of the request.", example: "{Authorization: Bearer 5b1f}"}),
	of("states", listOf(hookEventKind), func(h *rawHook) *opt[[]opt[model.HookEvent]] { return &h.states }, about{
		doc: "What is told: the states that a backend enters and, as `role`, changes of its role. That a backend is healthy by its first probe is not told.", defDoc: "`[healthy, unhealthy, ejected, role]`", example: "[unhealthy, healthy]"}),
	of("timeout", duration(100*time.Millisecond, 10*time.Minute, time.Millisecond), func(h *rawHook) *opt[time.Duration] { return &h.timeout }, about{
		doc: "A program that runs longer is killed with all that it started; a request is given up.", def: hookTimeout, example: "30s"}),
	of("retries", integer(0, 100), func(h *rawHook) *opt[int] { return &h.retries }, about{
		doc: "`webhook` only: how often a request is sent again that found nobody, took too long or was answered by 408, 429 or 5xx; after 1 s, 2 s, 4 s and so on up to 1 min.", def: hookRetries, example: "0"}),
))

var watchFields = []field[rawWatch]{
	of("on_change", listOf(hookKind), func(w *rawWatch) *opt[[]opt[rawHook]] { return &w.onChange }, about{
		doc: "Programs and web servers that are told of changes of the backends. A service's own list replaces the inherited one; an empty one tells nobody.", example: "[{webhook: https://alerts.example.com/xlb, states: unhealthy}]"}),
	of("critical", boolean, func(w *rawWatch) *opt[bool] { return &w.critical }, about{
		doc: "While no backend of the service is usable xlb is not `ready` (`critical_down:SERVICE` in `xlb status`). Hooks and metrics tell it.", def: false, example: "true"}),
}

// serviceWatch fills who is told of changes of a service.
func (w *world) serviceWatch(s *model.Service, raw *rawService) {
	own, inherited := &raw.common.watch, &w.defaults.watch
	s.Critical = own.critical.or(inherited.critical).v
	for _, o := range own.onChange.or(inherited.onChange).v {
		if o.ok {
			s.OnChange = append(s.OnChange, hookOf(o.v))
		}
	}
}

// checkHooks reports what is wrong with hooks, once for each place.
func (r *reader) checkHooks(list opt[[]opt[rawHook]]) {
	for _, o := range list.v {
		if o.ok {
			r.checkHook(o)
		}
	}
}

func (r *reader) checkHook(o opt[rawHook]) {
	h := &o.v
	switch {
	case h.command.given && h.webhook.given:
		r.fail(h.webhook.key, "on_change: a hook has either a command or a webhook", "make two of it")
	case !h.command.given && !h.webhook.given:
		r.fail(o.at, "on_change: neither command nor webhook is given", "for example {webhook: https://alerts.example.com/xlb}")
	case h.command.given:
		for _, k := range given(mark("headers", h.headers), mark("retries", h.retries)) {
			r.fail(k.at, "on_change: "+k.name+" has no effect on a command", "remove "+k.name)
		}
	}
	if list := h.command.v; h.command.given {
		switch {
		case len(list) == 0:
			r.fail(h.command.at, "on_change: command is empty", "for example [/usr/local/bin/backend-changed]")
		case list[0].ok && !filepath.IsAbs(list[0].v):
			r.fail(list[0].at, "on_change: command: "+quote(list[0].v)+" is not an absolute path", "give the program's whole path; there is no shell and no PATH")
		}
	}
	if h.states.ok && len(h.states.v) == 0 {
		r.fail(h.states.at, "on_change: states is empty", "remove states for the usual ones, or remove the hook")
	}
}

func hookOf(raw rawHook) model.Hook {
	h := model.Hook{
		Webhook: raw.webhook.v, Timeout: raw.timeout.orValue(hookTimeout), Events: slices.Clone(hookEvents),
	}
	if h.Webhook != "" {
		h.Retries = raw.retries.orValue(hookRetries)
	}
	for _, a := range raw.command.v {
		h.Command = append(h.Command, a.v)
	}
	for _, one := range raw.headers.v {
		if h.Headers == nil {
			h.Headers = map[string]string{}
		}
		h.Headers[one.name] = one.v.v
	}
	if raw.states.given {
		h.Events = nil
		for _, e := range raw.states.v {
			if e.ok && !slices.Contains(h.Events, e.v) {
				h.Events = append(h.Events, e.v)
			}
		}
	}
	return h
}

func webhookURL(s string) (string, *problem) {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return "", &problem{quote(s) + " is not a URL", "for example https://alerts.example.com/xlb"}
	}
	return s, nil
}
