package probe

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/xlb-io/xlb/pkg/model"
)

// redisCheck passes if the server answers PING with PONG and, where it is a
// replica, its link to the primary is up. The role is by ROLE, or by INFO where
// that is not allowed.
type redisCheck struct {
	connector
	login    model.Login
	security security
}

func (c redisCheck) check(ctx context.Context) (role string, err error) {
	conn, secret, done, err := c.session(ctx, c.login, c.security)
	if err != nil {
		return "", err
	}
	defer done()
	r := newRESP(conn)
	if secret != "" || c.login.User != "" { // of a user with `nopass` any will do
		words := []string{"AUTH", secret}
		if c.login.User != "" {
			words = []string{"AUTH", c.login.User, secret}
		}
		if _, err := r.do(words...); err != nil {
			return "", c.refusal(ctx, phaseLogin, err)
		}
	}
	pong, err := r.do("PING")
	if err != nil {
		return "", c.refusal(ctx, phaseHeader, err)
	}
	if len(pong) != 1 || pong[0] != "PONG" {
		return "", errors.New(shorten("redis: the answer to PING is " + strings.Join(pong, " ")))
	}
	return c.role(ctx, r)
}

func (c redisCheck) role(ctx context.Context, r *resp) (role string, err error) {
	answer, err := r.do("ROLE")
	if err == nil && len(answer) > 0 {
		link := ""
		if len(answer) > 3 {
			link = answer[3]
		}
		return redisRole(answer[0], link == "connected", link)
	}
	if _, refused := errors.AsType[respError](err); refused {
		answer, err = r.do("INFO", "replication")
	}
	if _, refused := errors.AsType[respError](err); refused {
		return "", nil // this user may not ask; the server is alive all the same
	}
	if err != nil || len(answer) != 1 {
		return "", c.refusal(ctx, phaseHeader, cmp.Or(err, errNotRESP))
	}
	value := func(key string) string {
		_, text, _ := strings.Cut(answer[0], "\n"+key+":")
		text, _, _ = strings.Cut(text, "\r\n")
		return text
	}
	link := value("master_link_status")
	return redisRole(value("role"), link == "up", link)
}

// redisRole is a role in our words. A replica whose link is down serves old data,
// or none.
func redisRole(name string, linked bool, link string) (role string, err error) {
	switch name {
	case "master":
		return model.RolePrimary, nil
	case "slave":
		if !linked {
			return model.RoleReplica, fmt.Errorf("redis: the replica's link to its primary is not up (%s)", shorten(link))
		}
		return model.RoleReplica, nil
	}
	return shorten(name), nil
}

// refusal gives what the server said.
func (c redisCheck) refusal(ctx context.Context, p phase, err error) error {
	if refused, ok := errors.AsType[respError](err); ok {
		return errors.New(shorten("redis: " + refused.Error()))
	}
	if errors.Is(err, errNotRESP) && ctx.Err() == nil {
		return errNotRESP
	}
	return c.reason(ctx, p, err)
}
