import platform

import pytest
import torch

from signalprop import profiles

SIZES = {"quick": 1, "standard": 2, "full": 3}


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    monkeypatch.delenv("SIGNALPROP_PROFILE", raising=False)
    monkeypatch.delenv("SIGNALPROP_DEVICE", raising=False)


def test_quick_is_the_default():
    assert profiles.profile() == "quick"


@pytest.mark.parametrize("name", profiles.PROFILES)
def test_environment_names_the_profile(monkeypatch, name):
    monkeypatch.setenv("SIGNALPROP_PROFILE", name)
    assert profiles.profile() == name


@pytest.mark.parametrize("name", ["", "Quick", "slow"])
def test_unknown_profile_is_refused(monkeypatch, name):
    monkeypatch.setenv("SIGNALPROP_PROFILE", name)
    with pytest.raises(ValueError, match=f"SIGNALPROP_PROFILE is '{name}'; set it to one of quick, standard, full"):
        profiles.profile()


@pytest.mark.parametrize("name", profiles.PROFILES)
def test_choose_takes_the_entry_of_the_profile(monkeypatch, name):
    monkeypatch.setenv("SIGNALPROP_PROFILE", name)
    assert profiles.choose(SIZES) == SIZES[name]


@pytest.mark.parametrize("forgotten", profiles.PROFILES)
def test_no_profile_can_be_forgotten(forgotten):
    """Not even one that is not run now."""
    sizes = {name: size for name, size in SIZES.items() if name != forgotten}
    with pytest.raises(ValueError, match=f"no sizes for profile {forgotten}; give one entry for each"):
        profiles.choose(sizes)


def test_environment_names_the_device(monkeypatch):
    monkeypatch.setenv("SIGNALPROP_DEVICE", "cpu")
    assert profiles.device() == torch.device("cpu")


@pytest.mark.parametrize(("cuda", "mps", "chosen"), [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")])
def test_fastest_device_present_is_the_default(monkeypatch, cuda, mps, chosen):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert profiles.device() == torch.device(chosen)


@pytest.mark.parametrize("name", ["", "tpu", "gpu", "cuda:99", "xla"])
def test_device_that_is_unknown_or_absent_is_refused(monkeypatch, name):
    monkeypatch.setenv("SIGNALPROP_DEVICE", name)
    with pytest.raises(ValueError, match=f"SIGNALPROP_DEVICE is '{name}', which cannot be used here .*set it to 'cpu'"):
        profiles.device()


def test_device_of_a_backend_that_is_not_installed_is_refused(monkeypatch):
    monkeypatch.setenv("SIGNALPROP_DEVICE", "hpu")
    with pytest.raises(ValueError, match="set it to 'cpu'"):
        profiles.device()


def test_describe_says_what_a_page_ran_on(monkeypatch):
    monkeypatch.setenv("SIGNALPROP_PROFILE", "full")
    monkeypatch.setenv("SIGNALPROP_DEVICE", "cpu")
    said = profiles.describe()
    assert said.startswith("profile full · cpu, ")
    assert f"Python {platform.python_version()}" in said
    assert f"torch {torch.__version__.split('+')[0]}" in said


@pytest.mark.parametrize(("threads", "said"), [(1, "1 thread ·"), (2, "2 threads ·")])
def test_describe_counts_the_threads(monkeypatch, threads, said):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    assert said in profiles.describe()
