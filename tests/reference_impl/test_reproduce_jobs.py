"""Tables as data, and what they come to with the scenes at hand."""

import json
import re
import sys
from copy import deepcopy
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from nerfreg import DepthSmoothness, depth_smoothness
from nerfreg.recipes import RECIPES, Recipe
from nerfreg.schedules import LogLinear
from reference_impl.config import LogConfig, OptimizerConfig
from reference_impl.perceptual import WEIGHTS_FORMAT
from reference_impl.reproduction import jobs as planning
from reference_impl.reproduction.jobs import (
    Request,
    find_scene,
    fingerprint,
    in_words,
    plan,
    settings,
)
from reference_impl.reproduction.published import PUBLISHED
from reference_impl.reproduction.tables import TABLES, Block, Table, Variant
from reference_impl.scenes import load_scene
from reference_impl.scenes.outside import outside
from tests.reference_impl.tiny_jobs import tiny_job

EMBEDDED = Request(scenes=("embedded",), seeds=1)


@pytest.fixture(scope="module")
def loaded():
    return cache(load_scene)


@pytest.fixture(autouse=True)
def _load_each_scene_once(loaded, monkeypatch):
    monkeypatch.setattr(planning, "load_scene", loaded)


@pytest.fixture
def llff(tmp_path):
    """A folder of scenes with one of LLFF's, ten black photographs."""
    folder = tmp_path / "data" / "llff" / "fern"
    (folder / "images_8").mkdir(parents=True)
    for i in range(10):
        Image.new("RGB", (120, 90)).save(folder / "images_8" / f"{i}.png")
    pose = np.array([[0, 1, 0, 0, 90], [-1, 0, 0, 0, 120], [0, 0, 1, 0, 100.0]])
    poses = np.repeat(pose[None], 10, 0)
    poses[:, 0, 3] = np.linspace(-1, 1, 10)
    np.save(folder / "poses_bounds.npy", np.c_[poses.reshape(10, 15), np.ones(10), np.full(10, 9)])
    return tmp_path / "data"


class TestTables:
    @pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
    def test_names_what_there_is(self, table):
        variants = [variant for block in table.blocks for variant in block.variants]
        assert {variant.recipe for variant in variants} <= RECIPES.keys()
        assert len(variants) == len(set(variants))
        assert table.notes
        if table.figure and table.figure.baseline:
            assert Variant(table.figure.baseline) in variants

    def test_every_table_of_a_paper_has_its_numbers_beside_it(self):
        printed = {row.table for row in PUBLISHED}
        none = {"embedded", "convergence", "intent", "recipes"}
        assert printed == {*TABLES} - none - {"data-efficiency-dtu"}
        assert printed == {name for table in TABLES.values() for name in table.published}
        assert all(row.source for row in PUBLISHED)

    @pytest.mark.parametrize("row", PUBLISHED, ids=lambda row: f"{row.table} {row.method}")
    def test_published_numbers_are_numbers(self, row):
        assert 5 < float(row.psnr) < 30
        assert all(0 < float(x) < 1 for x in (row.ssim, row.lpips, row.average) if x)

    def test_the_papers_whole_recipe_is_the_row_of_its_table(self):
        def numbers(table):
            row = next(r for r in PUBLISHED if r.table == table and r.method == "RegNeRF")
            return row.psnr, row.ssim, row.lpips, row.average

        assert numbers("ablation") == numbers("dtu3")


class TestHash:
    @pytest.mark.parametrize(
        "change",
        [
            {"steps": 7},
            {"seed": 1},
            {"views": 6},
            {"recipe": "fewview"},
            {"without": "color_prior"},
            {"preset": "paper"},
            {"precision": "bf16-mixed"},
            {"optimizer": OptimizerConfig(lr_start=1e-3)},
            {"log": LogConfig(evaluate_every=2)},
        ],
    )
    def test_changes_with_what_decides_the_result(self, change):
        assert tiny_job(**change).hash != tiny_job().hash
        assert tiny_job(**change).name != tiny_job().name

    def test_changes_with_the_scene(self):
        assert tiny_job("fern").hash != tiny_job().hash
        assert replace(tiny_job(), files="other").hash != tiny_job().hash

    @pytest.mark.parametrize(
        "change",
        [
            {"out": "x"},
            {"resume": "x"},
            {"scene": "/elsewhere"},
            {"log": LogConfig(every=7)},
            {"lpips": "vgg", "lpips_weights": "x"},
        ],
    )
    def test_does_not_change_with_paths_logging_and_what_else_is_measured(self, change):
        job = tiny_job()
        assert replace(job, config=replace(job.config, **change)).hash == job.hash

    def test_is_the_same_tomorrow(self):
        """Or finished jobs would run again."""
        assert tiny_job().hash == tiny_job().hash

    def test_changes_with_what_the_recipe_consists_of(self, monkeypatch):
        """Or a result of a recipe that was tuned since would pass for one of today's."""

        def of_fewview():
            jobs = plan(TABLES["embedded"], EMBEDDED).jobs
            return next(job for job in jobs if job.config.recipe == "fewview")

        def tuned(**given):
            recipe = make(**given)
            return replace(recipe, frequency_mask=replace(recipe.frequency_mask, n_steps=7))

        make = RECIPES["fewview"]
        before = of_fewview()
        assert of_fewview().hash == before.hash
        monkeypatch.setitem(planning.RECIPES, "fewview", tuned)
        assert of_fewview().hash != before.hash
        assert tiny_job(without="a,b").name.startswith("embedded-mipnerf-no_a-no_b-3v-s0-")


class TestSettings:
    """What of a recipe is in the hash."""

    @staticmethod
    def of(loss, weight=1.0, **changes):
        return settings(
            Recipe("mine", **{"source": "me", "patch_terms": {"loss": (loss, weight)}} | changes)
        )

    @pytest.mark.parametrize(
        "other",
        [
            {"loss": DepthSmoothness(norm="l1")},
            {"weight": 2.0},
            {"weight": LogLinear(1.0, 0.1, n_steps=10)},
            {"patch_size": 4},
            {"patch_terms": {}},
        ],
        ids=str,
    )
    def test_terms_weights_and_shares_count(self, other):
        assert self.of(**{"loss": DepthSmoothness()} | other) != self.of(DepthSmoothness())

    def test_words_about_it_do_not(self):
        assert self.of(DepthSmoothness(), source="you") == self.of(DepthSmoothness())

    def test_functions_go_by_name_wherever_they_lie_in_memory(self):
        def loss():
            return lambda depth: depth.mean()

        one, other = loss(), loss()
        assert repr(one) != repr(other), "they say where they lie"
        assert self.of(one) == self.of(other)
        assert self.of(one) != self.of(depth_smoothness)

    def test_the_weights_of_a_network_count(self):
        network = nn.Linear(2, 2)
        before = self.of(network)
        assert self.of(deepcopy(network)) == before
        with torch.no_grad():
            network.bias += 1
        assert self.of(network) != before

    @pytest.mark.parametrize("name", sorted({*RECIPES} - {"dietnerf"}))
    def test_every_recipe_has_the_same_twice(self, name):
        """``dietnerf`` is in no table: it needs a network that is not shipped."""
        given = {"forward_facing": True, "n_views": 3, "n_steps": 100}
        assert settings(RECIPES[name](**given)) == settings(RECIPES[name](**given))


class TestLpips:
    def test_a_missing_package_is_told_before_anything_runs(self, tmp_path, monkeypatch):
        weights = tmp_path / "lpips.safetensors"
        save_file({"vgg.x": torch.zeros(1)}, weights, {"format": WEIGHTS_FORMAT})
        monkeypatch.setitem(sys.modules, "lpips", None)
        with pytest.raises(ImportError, match=r'pip install "nerfreg\[lpips\]"'):
            plan(TABLES["embedded"], Request(lpips_weights=weights))

    def test_is_measured_where_its_weights_are_given(self, tmp_path, monkeypatch):
        monkeypatch.setattr(planning, "import_lpips", lambda: None)
        weights = tmp_path / "lpips.safetensors"
        save_file({"vgg.x": torch.zeros(1)}, weights, {"format": WEIGHTS_FORMAT})
        without, with_it = (
            plan(TABLES["embedded"], Request(seeds=1, lpips_weights=given)).jobs[0]
            for given in (None, weights)
        )
        assert (with_it.config.lpips, with_it.config.lpips_weights) == ("vgg", str(weights))
        assert with_it.hash == without.hash, "the training is the same"

    def test_weights_that_are_not_there_are_named_before_anything_runs(self, tmp_path):
        with pytest.raises(ValueError, match=r"no\.safetensors"):
            plan(TABLES["embedded"], Request(lpips_weights=tmp_path / "no.safetensors"))


class TestFingerprint:
    def test_sees_content_names_and_sizes(self, tmp_path, monkeypatch):
        monkeypatch.setattr(planning, "SMALL_FILE", 4)
        (tmp_path / "small").write_text("abcd")
        (tmp_path / "large").write_text("abcde")
        before = fingerprint(tmp_path)
        (tmp_path / "small").write_text("abce")
        assert fingerprint(tmp_path) != before
        (tmp_path / "small").write_text("abcd")
        (tmp_path / "large").write_text("abcdef")
        assert fingerprint(tmp_path) != before
        (tmp_path / "large").rename(tmp_path / "other")
        (tmp_path / "other").write_text("abcde")
        assert fingerprint(tmp_path) != before
        (tmp_path / "other").rename(tmp_path / "large")
        assert fingerprint(tmp_path) == before

    def test_follows_links_once(self, tmp_path):
        scene, elsewhere = tmp_path / "scene", tmp_path / "photographs"
        scene.mkdir()
        elsewhere.mkdir()
        (elsewhere / "a.png").write_text("a")
        (scene / "images").symlink_to(elsewhere)
        (elsewhere / "back").symlink_to(scene)
        before = fingerprint(scene)
        (elsewhere / "a.png").write_text("b")
        assert fingerprint(scene) != before

    def test_sees_the_masks_of_a_scan_that_lie_beside_it(self, tmp_path):
        scan, masks = tmp_path / "Rectified" / "scan8", tmp_path / "idrmasks" / "scan8"
        scan.mkdir(parents=True)
        before = fingerprint(scan)
        masks.mkdir(parents=True)
        (masks / "000.png").write_text("x")
        assert fingerprint(scan) != before

    def test_sees_photographs_that_are_named_elsewhere(self, tmp_path):
        scene = tmp_path / "scene"
        scene.mkdir()
        (tmp_path / "a.png").write_text("a")
        frames = {"frames": [{"file_path": "../a.png"}, {"file_path": "../missing.png"}, {}]}
        (scene / "transforms.json").write_text(json.dumps(frames))
        assert outside(scene) == []  # one frame says nothing: loading the scene will tell
        (scene / "transforms.json").write_text(json.dumps({"frames": frames["frames"][:2]}))
        assert outside(scene) == [tmp_path / "a.png"]
        before = fingerprint(scene)
        (tmp_path / "a.png").write_text("b")
        assert fingerprint(scene) != before

    def test_does_not_see_hidden_files(self, tmp_path):
        before = fingerprint(tmp_path)
        (tmp_path / ".cache").mkdir()
        (tmp_path / ".cache" / "thumbnail").touch()
        assert fingerprint(tmp_path) == before


class TestScenes:
    def test_lie_up_to_two_folders_deep(self, tmp_path):
        for name in ("fern", "llff/horns", "a/b/room"):
            (tmp_path / name).mkdir(parents=True)
            assert find_scene(name.rpartition("/")[2], tmp_path) == str(tmp_path / name)

    def test_that_are_missing_are_named_with_where_they_were_looked_for(self, tmp_path):
        with pytest.raises(ValueError, match=rf"no folder fern: looked for {tmp_path}/fern, "):
            find_scene("fern", tmp_path)
        with pytest.raises(ValueError, match="scene fern needs --data FOLDER"):
            find_scene("fern", None)

    @pytest.mark.parametrize("name", ["llff/fern", "/fern", ".."])
    def test_are_names_and_not_paths(self, tmp_path, name):
        with pytest.raises(ValueError, match="expected the name of a folder"):
            find_scene(name, tmp_path)

    def test_of_one_name_are_not_chosen_between(self, tmp_path):
        for place in ("a", "b"):
            (tmp_path / place / "fern").mkdir(parents=True)
        with pytest.raises(ValueError, match=r"several folders fern: .*a/fern, .*b/fern"):
            find_scene("fern", tmp_path)

    def test_masks_in_a_folder_of_the_same_name_are_no_scene(self, tmp_path):
        """As DTU's release has them beside it."""
        for place in ("Rectified", "idrmasks"):
            (tmp_path / place / "scan8").mkdir(parents=True)
        (tmp_path / "Rectified" / "scan8" / "rect_001_3_r5000.png").touch()
        (tmp_path / "idrmasks" / "scan8" / "001.png").touch()
        assert find_scene("scan8", tmp_path) == str(tmp_path / "Rectified" / "scan8")

    def test_a_link_to_a_scene_is_that_scene(self, tmp_path):
        scene = tmp_path / "a" / "fern"
        scene.mkdir(parents=True)
        (scene / "poses_bounds.npy").touch()
        (tmp_path / "fern").symlink_to(scene)
        assert find_scene("fern", tmp_path) == str(scene)
        other = tmp_path / "b" / "fern"
        other.mkdir(parents=True)
        (other / "poses_bounds.npy").touch()
        with pytest.raises(ValueError, match=r"several folders fern: .*/fern, .*b/fern"):
            find_scene("fern", tmp_path)

    def test_that_lack_the_same_are_told_in_one_line(self):
        missing = {
            "fern": "no folder fern: looked for x/fern",
            "trex": "no folder trex: looked for x/trex",
            "room": "room: damaged",
        }
        assert in_words(missing) == [
            "fern, trex: no folder NAME: looked for x/NAME",
            "room: damaged",
        ]


class TestPlan:
    def test_a_table_without_data(self):
        planned = plan(TABLES["embedded"], Request(seeds=2))
        assert not planned.missing
        assert [job.title for job in planned.jobs] == [
            f"embedded, {recipe}, 3 views, seed {seed}"
            for seed in (0, 1)
            for recipe in ("mipnerf", "regnerf", "dsnerf", "fewview")
        ]
        config = planned.jobs[0].config
        assert (config.steps, config.width, config.log.frames) == (2000, 96, 0)

    def test_missing_scenes_are_named_and_the_others_run(self, llff):
        planned = plan(TABLES["llff3"], Request(data=llff, seeds=1))
        assert {job.scene for job in planned.jobs} == {"fern"}
        assert set(planned.missing) == {*TABLES["llff3"].scenes} - {"fern"}
        assert "no folder trex" in planned.missing["trex"]
        assert planned.jobs[0].config.scene == str(llff / "llff" / "fern")

    def test_a_damaged_scene_is_named(self, llff):
        (llff / "llff" / "fern" / "poses_bounds.npy").write_bytes(b"x")
        planned = plan(TABLES["llff3"], Request(data=llff, scenes=("embedded", "fern")))
        assert {job.scene for job in planned.jobs} == {"embedded"}
        assert "poses_bounds.npy" in planned.missing["fern"]

    def test_smaller_photographs_than_the_papers_come_as_they_are(self, llff):
        request = Request("paper", 1, llff, ("fern",))
        config = plan(TABLES["llff3"], request).jobs[0].config
        assert config.width == 120
        assert config.steps == round(500 * 3 * 90 * 120 / 4096)

    def test_larger_photographs_are_reduced_to_the_papers_size(self, llff):
        table = replace(TABLES["llff3"], size=(60, 45))
        planned = plan(table, Request("paper", 1, llff, ("fern",)))
        assert planned.jobs[0].config.width == 60

    def test_keypoints_come_from_where_they_are_asked_for(self, monkeypatch):
        planned = plan(TABLES["embedded"], replace(EMBEDDED, keypoints="none"))
        others = plan(TABLES["embedded"], EMBEDDED).jobs
        assert {
            job.config.recipe
            for job, other in zip(planned.jobs, others, strict=True)
            if job.hash != other.hash
        } == {"dsnerf", "fewview"}
        assert {job.config.keypoints for job in planned.jobs if job.takes_depth} == {"none"}
        monkeypatch.setitem(sys.modules, "pycolmap", None)
        with pytest.raises(ImportError, match="--keypoints triangulate needs pycolmap"):
            plan(TABLES["embedded"], replace(EMBEDDED, keypoints="triangulate"))

    def test_a_folder_is_of_what_was_asked_for(self):
        table = TABLES["llff3"]
        assert Request().folder_of(table) == "llff3-small"
        asked = Request("paper", steps=7, scenes=("fern", "room"), keypoints="triangulate")
        name = "llff3-paper-steps-7-keypoints-triangulate-fern+room"
        assert asked.folder_of(table) == name
        asked = Request(seeds=1, device="cpu", scenes=("../../x", "fern", ".."))
        assert asked.folder_of(table) == "llff3-small-seeds-1-cpu-fern"
        many = Request(scenes=tuple(f"scene{i}" for i in range(20)))
        assert re.fullmatch(r"llff3-small-20-scenes-[0-9a-f]{8}", many.folder_of(table))

    def test_a_scene_given_twice_runs_once(self):
        jobs = plan(TABLES["embedded"], Request(seeds=1, scenes=("embedded", "embedded"))).jobs
        assert len({job.name for job in jobs}) == len(jobs) == 4

    def test_a_table_of_several_data_sets_has_each_at_its_papers_size(self):
        for name in ("ablation", "data-efficiency", "convergence"):
            sizes = [TABLES[name].size_of(s) for s in ("fern", "scan8", "fox", "embedded")]
            assert sizes == [(504, 378), (400, 300), None, None]
        assert TABLES["dsnerf-llff"].size_of("fern") == (1008, 756)
        assert TABLES["llff3"].size_of("embedded") is None

    def test_a_paper_that_does_not_name_its_scenes_needs_some(self):
        with pytest.raises(ValueError, match="--table dsnerf-redwood needs --scenes"):
            plan(TABLES["dsnerf-redwood"], Request())
        jobs = plan(TABLES["dsnerf-redwood"], EMBEDDED).jobs
        assert {job.config.views for job in jobs} == {2, 5, 10}

    def test_none_of_the_scenes_is_an_error(self, tmp_path):
        with pytest.raises(
            ValueError, match=r"--table llff3: none of its scenes.* NAME needs --data"
        ):
            plan(TABLES["llff3"], Request())
        with pytest.raises(ValueError, match=r"can run: fern, .*: no folder NAME: looked for"):
            plan(TABLES["llff3"], Request(data=tmp_path))

    @pytest.mark.parametrize(("name", "least"), [("seeds", 1), ("steps", 0)])
    def test_numbers_are_checked(self, name, least):
        with pytest.raises(ValueError, match=f"--{name} must be at least {least}"):
            plan(TABLES["embedded"], Request(**{name: least - 1}))

    def test_an_ablation_leaves_out_what_is_there(self, llff):
        def left_out(scene, data=None):
            planned = plan(TABLES["ablation"], Request(seeds=1, scenes=(scene,), data=data))
            variants = [job.variant for job in planned.jobs]
            return [v.without for v in variants if v.recipe == "fewview"]

        expected = [
            (),
            ("frequency_mask",),
            ("occlusion",),
            ("depth_smoothness",),
            ("depth_kl",),
            ("occlusion", "depth_smoothness", "depth_kl"),
            ("frequency_mask", "depth_smoothness", "depth_kl"),
            ("frequency_mask", "occlusion", "depth_kl"),
            ("frequency_mask", "occlusion", "depth_smoothness"),
        ]
        assert left_out("fern", llff) == expected
        # No depth is smoothed there: what would leave it out leaves out the rest, or is the whole.
        rest = [tuple(p for p in v if p != "depth_smoothness") for v in expected]
        assert left_out("embedded") == list(dict.fromkeys(rest))

    def test_points_on_the_way_are_spread_over_the_steps(self):
        jobs = plan(TABLES["convergence"], replace(EMBEDDED, steps=100)).jobs
        assert {job.config.log.evaluate_every for job in jobs} == {4}

    def test_tables_share_their_jobs(self):
        """What one has finished the other need not run."""
        names = [
            {job.name for job in plan(TABLES[table], EMBEDDED).jobs}
            for table in ("embedded", "data-efficiency", "ablation")
        ]
        assert len(names[0] & names[1]) == 3
        assert len(names[0] & names[2]) == 2

    def test_a_setting_in_two_blocks_runs_once(self):
        block = Block((Variant("mipnerf"),), (3,))
        table = Table("t", "t", ("embedded",), (block, block))
        assert len(plan(table, EMBEDDED).jobs) == 1
