// Package importer turns the layer-4 set-up of another balancer into an xlb
// configuration: nginx's stream module, HAProxy in mode tcp, keepalived's
// virtual servers and what ipvsadm saves.
//
// There is one file per thing to read and as many as it takes to translate it.
// What has no counterpart becomes a [Note] that says where it stands and why; a
// service that would be another without it is left out whole.
package importer
