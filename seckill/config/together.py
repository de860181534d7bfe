"""Parameters of Kafka's security that mean nothing, or something else, without each other."""

from typing import Any

SASL = ("SASL_PLAINTEXT", "SASL_SSL")


def wrong_together(section: Any) -> str:
    """What is missing or too much in a section of Kafka; "" if all fits. Repeats no value."""
    mechanism, protocol = section.sasl_mechanism, section.security_protocol
    if protocol in SASL and mechanism is None:
        return f"security_protocol {protocol} needs a sasl_mechanism"
    if protocol not in SASL and mechanism is not None:
        return f"sasl_mechanism needs security_protocol SASL_SSL or SASL_PLAINTEXT, not {protocol}"
    if mechanism == "OAUTHBEARER":
        client = (section.oauth_token_url, section.oauth_client_id, section.oauth_client_secret)
        if (section.oauth_token_file is None) == (None in client):
            return (
                "OAUTHBEARER needs oauth_token_file, or oauth_token_url with oauth_client_id and "
                "oauth_client_secret, and not both"
            )
    elif mechanism is not None and None in (section.sasl_username, section.sasl_password):
        return f"sasl_mechanism {mechanism} needs sasl_username and sasl_password"
    if section.ssl_certfile is None and (section.ssl_keyfile or section.ssl_key_password):
        return "ssl_keyfile and ssl_key_password need ssl_certfile"
    if protocol in ("PLAINTEXT", "SASL_PLAINTEXT") and section.ssl_certfile:
        return f"ssl_certfile needs security_protocol SSL or SASL_SSL, not {protocol}"
    return ""
