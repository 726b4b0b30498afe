// Package api is the way into a running daemon: HTTP with JSON over a Unix
// socket, a [Server] for the daemon and a [Client] for everyone else.
//
// The server knows the daemon only as a [Daemon]. Every answer is a type of
// this package; times are RFC 3339, and whatever is not 2xx has the body
// {"error": "…"}.
//
//	GET  /v1/status
//	GET  /v1/services                                ?name=
//	GET  /v1/services/{service}
//	GET  /v1/backends                                ?service=
//	GET  /v1/services/{service}/backends/{address}
//	POST /v1/services/{service}/add                  {"text": "frontends: …"}
//	POST /v1/services/{service}/rm
//	POST /v1/services/{service}/backends/{address}/add      {"weight": 5, "zone": "…", "tags": ["…"], "priority": 1, "server_id": "…"}
//	POST /v1/services/{service}/backends/{address}/rm
//	POST /v1/services/{service}/backends/{address}/drain    {"after_seconds": 300}
//	POST /v1/services/{service}/backends/{address}/undrain
//	POST /v1/services/{service}/backends/{address}/disable
//	POST /v1/services/{service}/backends/{address}/enable
//	POST /v1/services/{service}/backends/{address}/weight   {"weight": 5} or {"reset": true}
//	GET  /v1/zones                                   ?service=
//	POST /v1/zones/disable                           {"zone": "…", "service": "…"}
//	POST /v1/zones/enable                            {"zone": "…", "service": "…"}
//	GET  /v1/overrides
//	POST /v1/overrides/clear                         {"service": "…", "backend": "…"}
//	POST /v1/reload
//	POST /v1/plan                                    {"path": "…", "content": "…"}
//	GET  /v1/policies
//	POST /v1/policies/{policy}/reload
//	POST /v1/policies/{policy}/tables/{table}        {"entries": […]}
//	GET  /v1/flows                                   ?service=&backend=&client=&limit=   JSON lines
//	GET  /v1/stats                                   ?service=&backends=false|counting
//	GET  /metrics                                    for Prometheus
//
// To look at it by hand:
//
//	curl --unix-socket /run/xlb/xlb.sock http://xlb/v1/status
package api
