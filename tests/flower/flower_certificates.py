"""A certificate authority for one test, a certificate for 127.0.0.1, and keys of nodes."""

import datetime
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def private(key):
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def certificates(folder):
    """Paths of "ca", "certificate" and "key"."""
    folder = Path(folder)
    folder.mkdir(parents=True)
    now = datetime.datetime.now(datetime.UTC)

    def build(name, key, issuer, issuer_key, *extensions):
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=2))
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        return builder.sign(issuer_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    ca_key, key = ec.generate_private_key(ec.SECP384R1()), ec.generate_private_key(ec.SECP384R1())
    identifier = x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key())
    usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
    ca = build(
        "test ca", ca_key, "test ca", ca_key, (x509.BasicConstraints(True, 0), True), (usage, True), (identifier, False)
    )
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
    certificate = build("127.0.0.1", key, "test ca", ca_key, (names, False), (authority, False))
    paths = {name: folder / f"{name}.pem" for name in ("ca", "certificate", "key")}
    for name, content in (("ca", ca), ("certificate", certificate), ("key", private(key))):
        paths[name].write_bytes(content)
    return paths


def node_key(path):
    """Paths of the "private" and "public" key of a node: EC P-384, as Flower asks."""
    key = ec.generate_private_key(ec.SECP384R1())
    paths = {"private": Path(f"{path}.pem"), "public": Path(f"{path}.pub")}
    form = serialization.PrivateFormat.OpenSSH
    paths["private"].write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    paths["public"].write_bytes(
        key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    )
    return paths
