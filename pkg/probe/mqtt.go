package probe

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	mqtt5 "github.com/eclipse/paho.golang/packets"
	mqtt3 "github.com/eclipse/paho.mqtt.golang/packets"

	"github.com/xlb-io/xlb/pkg/model"
)

// mqttCheck passes if the broker takes a client: CONNECT is answered by a CONNACK
// that refuses nothing. The client has a name that nobody else has, for a broker
// throws out who has it already.
type mqttCheck struct {
	connector
	version  model.MQTTVersion
	login    model.Login
	security security
}

func (c mqttCheck) check(ctx context.Context) (role string, err error) {
	conn, secret, done, err := c.session(ctx, c.login, c.security)
	if err != nil {
		return "", err
	}
	defer done()
	if c.version == model.MQTT5 {
		return "", c.speak5(ctx, conn, secret)
	}
	return "", c.speak3(ctx, conn, secret)
}

// errNoCONNACK is the reason of a backend that speaks something else.
var errNoCONNACK = errors.New("mqtt: the answer is no CONNACK")

// answer reads from conn, once that begins with a CONNACK of a modest length: of
// any other bytes the packages that follow would make packets of up to 256 MB.
func (c mqttCheck) answer(ctx context.Context, conn net.Conn) (io.Reader, error) {
	const connack, more = 0x20, 0x80
	r := bufio.NewReader(conn)
	for n := 2; n <= 3; n++ {
		head, err := r.Peek(n)
		switch {
		case len(head) > 0 && head[0] != connack:
			return nil, errNoCONNACK
		case err != nil:
			return nil, c.reason(ctx, phaseHeader, err)
		case head[n-1]&more == 0:
			return r, nil
		}
	}
	return nil, errNoCONNACK
}

// Keep-alive in seconds: some brokers refuse 0, which is none.
const mqttKeepAlive = 60

// A client name of 23 letters and digits is what every broker takes.
func mqttName() string { return ("xlbprobe" + rand.Text())[:23] }

func (c mqttCheck) speak3(ctx context.Context, conn net.Conn, secret string) error {
	p := mqtt3.NewControlPacket(mqtt3.Connect).(*mqtt3.ConnectPacket)
	p.ProtocolName, p.ProtocolVersion, p.CleanSession, p.Keepalive = "MQTT", 4, true, mqttKeepAlive
	p.ClientIdentifier = mqttName()
	p.Username, p.UsernameFlag = c.login.User, c.login.User != ""
	p.Password, p.PasswordFlag = []byte(secret), secret != ""
	if err := p.Write(conn); err != nil {
		return c.reason(ctx, phaseLogin, err)
	}
	r, err := c.answer(ctx, conn)
	if err != nil {
		return err
	}
	answer, err := mqtt3.ReadPacket(r)
	if err != nil {
		return c.reason(ctx, phaseHeader, err)
	}
	ack, ok := answer.(*mqtt3.ConnackPacket)
	switch {
	case !ok:
		return errNoCONNACK
	case ack.ReturnCode != mqtt3.Accepted:
		return errors.New(shorten("mqtt: the broker refused: " + mqtt3Refusal(ack.ReturnCode)))
	}
	// A farewell, so that the broker does not wonder; what becomes of it is no matter.
	_ = mqtt3.NewControlPacket(mqtt3.Disconnect).Write(conn)
	return nil
}

func mqtt3Refusal(code byte) string {
	switch code {
	case mqtt3.ErrRefusedBadProtocolVersion:
		return "it does not speak v3.1.1"
	case mqtt3.ErrRefusedIDRejected:
		return "client name not allowed"
	case mqtt3.ErrRefusedServerUnavailable:
		return "server unavailable"
	case mqtt3.ErrRefusedBadUsernameOrPassword:
		return "bad user name or password"
	case mqtt3.ErrRefusedNotAuthorised:
		return "not authorized"
	}
	return fmt.Sprintf("code %d", code)
}

func (c mqttCheck) speak5(ctx context.Context, conn net.Conn, secret string) error {
	packet := mqtt5.NewControlPacket(mqtt5.CONNECT)
	p := packet.Content.(*mqtt5.Connect)
	p.ProtocolName, p.ProtocolVersion, p.CleanStart, p.KeepAlive = "MQTT", 5, true, mqttKeepAlive
	p.ClientID = mqttName()
	p.Username, p.UsernameFlag = c.login.User, c.login.User != ""
	p.Password, p.PasswordFlag = []byte(secret), secret != ""
	if _, err := packet.WriteTo(conn); err != nil {
		return c.reason(ctx, phaseLogin, err)
	}
	r, err := c.answer(ctx, conn)
	if err != nil {
		return err
	}
	answer, err := mqtt5.ReadPacket(r)
	if err != nil {
		return c.reason(ctx, phaseHeader, err)
	}
	ack, ok := answer.Content.(*mqtt5.Connack)
	switch {
	case !ok:
		return errNoCONNACK
	case ack.ReasonCode != 0:
		text, _, _ := strings.Cut(ack.Reason(), " - ")
		return errors.New(shorten(fmt.Sprintf("mqtt: the broker refused: code %d %s", ack.ReasonCode, strings.ToLower(text))))
	}
	_, _ = mqtt5.NewControlPacket(mqtt5.DISCONNECT).WriteTo(conn)
	return nil
}
