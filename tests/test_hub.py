"""Published weights: shown licence, consent, verified bytes, and clear words without a network."""

import builtins
import errno
import hashlib
import sys

import huggingface_hub
import pytest
from huggingface_hub import constants

from kinedepth import hub
from kinedepth.dense.registry import DEPTH_MODELS
from kinedepth.errors import KinedepthError, MissingExtraError

CONTENT = b"weights of great worth"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def published(licence=hub.APACHE_2, size=22, sha256=SHA256, names=("weights.pth",)):
    files = tuple(hub.HubFile(name, size, sha256) for name in names)
    return hub.PublishedWeights("someone/something", files, licence, "1234abcd")


class FakeHub:
    """Stands in for the two functions of huggingface_hub; what was downloaded stays cached."""

    def __init__(self, folder, content=CONTENT):
        self.folder, self.content = folder, content
        self.downloads = []

    def try_to_load_from_cache(self, repository, name, revision=None):
        path = self.folder / name
        return str(path) if path.is_file() else None

    def hf_hub_download(self, repository, name, revision=None):
        self.downloads.append((repository, name, revision))
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.content)
        return str(path)


@pytest.fixture
def fake(tmp_path, monkeypatch):
    made = FakeHub(tmp_path)
    for name in ("try_to_load_from_cache", "hf_hub_download"):
        monkeypatch.setattr(huggingface_hub, name, getattr(made, name))
    return made


def yes(weights):
    return True


def never(weights):
    raise AssertionError("nobody is to be asked")


def test_weights_are_downloaded_once_at_the_pinned_revision_and_then_taken_from_the_cache(fake):
    path = hub.fetch(published(), yes)
    assert path.read_bytes() == CONTENT
    assert fake.downloads == [("someone/something", "weights.pth", "1234abcd")]
    assert hub.fetch(published(), never) == path
    assert len(fake.downloads) == 1


def test_weights_of_several_files_are_a_folder(fake, tmp_path):
    names = ("unet/config.json", "unet/model.safetensors", "index.json")
    assert hub.fetch(published(names=names), yes) == tmp_path
    assert [name for _, name, _ in fake.downloads] == list(names)


def test_a_licence_is_shown_before_the_download_even_if_it_is_permissive(fake):
    said = []

    def tell(sentence):
        assert not fake.downloads
        said.append(sentence)

    hub.fetch(published(), hub.permission(tell=tell))
    assert len(said) == 1
    assert "someone/something" in said[0]
    assert "Apache-2.0" in said[0]


def test_a_licence_that_restricts_use_has_to_be_accepted(fake, capsys):
    weights = published(hub.CC_BY_NC_4)
    with pytest.raises(KinedepthError, match=r"CC-BY-NC-4.0 .*--accept-licence"):
        hub.fetch(weights, hub.permission())
    assert not fake.downloads
    assert "not for commercial use" in capsys.readouterr().err
    assert hub.fetch(weights, hub.permission(accept_licence=True)).is_file()


@pytest.mark.parametrize("answer", [True, False])
def test_where_somebody_can_be_asked_the_answer_counts(fake, answer):
    questions = []

    def ask(question):
        questions.append(question)
        return answer

    permit = hub.permission(ask=ask, tell=lambda sentence: None)
    if answer:
        hub.fetch(published(hub.CC_BY_NC_4), permit)
    else:
        with pytest.raises(KinedepthError, match="was not accepted"):
            hub.fetch(published(hub.CC_BY_NC_4), permit)
    assert questions == ["Do you accept CC-BY-NC-4.0?"]
    assert len(fake.downloads) == answer


def test_nobody_is_asked_about_a_permissive_licence(fake):
    hub.fetch(published(), hub.permission(ask=never, tell=lambda sentence: None))


@pytest.mark.parametrize(
    ("content", "wrong"),
    [(CONTENT[:-3], "bytes instead of"), (CONTENT[::-1], "does not have the SHA-256")],
)
def test_a_file_that_is_not_the_one_meant_is_not_used(fake, tmp_path, content, wrong):
    fake.content = content
    path = str(tmp_path / "weights.pth")
    with pytest.raises(KinedepthError, match=wrong) as caught:
        hub.fetch(published(), yes)
    assert f"{path} " in str(caught.value)
    # Nor is it when it lies in the cache already.
    with pytest.raises(KinedepthError, match="remove that file"):
        hub.fetch(published(), never)


def test_what_is_not_known_of_a_file_is_not_checked(fake):
    fake.content = b"anything"
    assert hub.fetch(published(size=None, sha256=None), yes).read_bytes() == b"anything"


def test_without_a_network_one_sentence_names_the_way_out(tmp_path, monkeypatch):
    """The library itself, as it behaves where no connection is allowed and nothing is cached."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(KinedepthError, match=r"cannot be reached.*--weights PATH") as caught:
        hub.fetch(published(), yes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("error", [ConnectionResetError("reset\nby peer."), RuntimeError()])
def test_a_download_that_breaks_is_one_sentence(fake, monkeypatch, error):
    def broken(*_, **__):
        raise error

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", broken)
    with pytest.raises(KinedepthError, match=r"\((reset|RuntimeError)\); fetch it") as caught:
        hub.fetch(published(), yes)
    assert "\n" not in str(caught.value)


def test_a_full_disk_is_not_taken_for_a_missing_network(fake, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", full)
    with pytest.raises(OSError, match="No space left") as caught:
        hub.fetch(published(), yes)
    assert caught.value.errno == errno.ENOSPC


def test_a_missing_library_is_told_with_the_extra_that_brings_it(monkeypatch):
    real = builtins.__import__

    def without(name, *rest, **more):
        if name == "huggingface_hub":
            raise ImportError
        return real(name, *rest, **more)

    monkeypatch.delitem(sys.modules, "huggingface_hub")
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match=r"kinedepth\[hub\]"):
        hub.fetch(published(), yes)


def test_a_published_file_is_known_by_its_bytes_whatever_its_name(tmp_path, monkeypatch):
    monkeypatch.setitem(hub.PUBLISHED, "vda-small", published())
    path = tmp_path / "renamed.bin"
    path.write_bytes(CONTENT)
    assert hub.identify(path) == "vda-small"
    path.write_bytes(CONTENT[::-1])
    assert hub.identify(path) is None


def test_what_is_published_belongs_to_a_model_and_has_a_licence():
    assert set(hub.PUBLISHED) <= set(DEPTH_MODELS)
    for weights in hub.PUBLISHED.values():
        assert "/" in weights.repository
        assert weights.licence.url.startswith("https://")
        for file in weights.files:
            assert file.sha256 is None or len(bytes.fromhex(file.sha256)) == 32


@pytest.mark.parametrize("size", ["base", "large"])
@pytest.mark.parametrize("kind", ["", "metric-"])
def test_larger_video_depth_anything_weights_are_not_for_commercial_use(size, kind):
    assert not hub.PUBLISHED[f"vda-{kind}{size}"].licence.permissive
    assert hub.PUBLISHED[f"vda-{kind}small"].licence.permissive
