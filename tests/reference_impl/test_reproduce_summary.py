"""From results to tables, findings and figures."""

import csv
import json
from dataclasses import replace

import imageio.v3 as iio
import numpy as np
import pytest

from reference_impl.reproduction import figures
from reference_impl.reproduction.curves import crossing, speed_up
from reference_impl.reproduction.figures import draw
from reference_impl.reproduction.jobs import Plan, Request
from reference_impl.reproduction.results import JobFolder
from reference_impl.reproduction.summary import Summary, scene_means, seeds_mean
from reference_impl.reproduction.tables import TABLES
from tests.reference_impl.tiny_jobs import result_of, tiny_job


def summary(table, values, missing=None, failures=None, **request):
    """Of a table whose jobs have these PSNRs, or results."""
    results = {
        job: value if isinstance(value, dict) else result_of(job, value)
        for job, value in values.items()
    }
    failures = failures or {}
    planned = Plan((*results, *failures), missing or {})
    return Summary(TABLES[table], Request(**request), planned, results, failures)


class TestCrossing:
    def test_lies_between_points_linearly(self):
        assert crossing([3, 6, 9], [10, 16, 22], 13).at == pytest.approx(4.5)
        assert crossing([3, 6, 9], [10, 16, 22], 22).at == pytest.approx(9)
        assert crossing([3, 6, 9], [10, 16, 22], 13).words() == "4.5"

    def test_is_the_first_of_several(self):
        assert crossing([0, 1, 2, 3], [0, 2, 0, 2], 1).at == 0.5

    def test_may_have_been_before_the_first_point(self):
        found = crossing([3, 6], [10, 16], 9)
        assert (found.at, found.at_start, found.words()) == (3, True, "at most 3.0")

    def test_may_be_nowhere(self):
        found = crossing([3, 6], [10, 16], 17)
        assert (found.at, found.words()) == (None, "more than 6.0")

    def test_of_nothing_is_an_error(self):
        with pytest.raises(ValueError, match="at least one point"):
            crossing([], [], 1)

    def test_a_speed_up_is_towards_the_baselines_best(self):
        baseline = ([10, 20, 30, 40], [1, 2, 4, 3])
        factor, at, found = speed_up(baseline, ([10, 20], [2, 6]))
        assert (factor, at, found.at) == (2, 30, 15)
        assert speed_up(baseline, ([10, 20], [2, 3]))[0] is None

    def test_the_papers_llff_table_interpolated(self):
        """RegNeRF's 3 views against mip-NeRF's 14.62, 20.87 and 24.26 dB: about 5."""
        assert crossing([3, 6, 9], [14.62, 20.87, 24.26], 19.08).at == pytest.approx(5.14, abs=0.01)


class TestMeans:
    def metrics(self, scene, seed, psnr):
        return result_of(tiny_job(scene, seed=seed), psnr)["metrics"]

    def test_are_of_the_scenes_of_each_seed(self):
        given = [self.metrics(s, i, 10 * i + n) for i in (0, 1) for s, n in (("a", 1), ("b", 3))]
        means = scene_means(given)
        assert [(m["seed"], m["mean"]["psnr"]) for m in means] == [(0, 2), (1, 12)]
        assert {m["scene"] for m in means} == {"mean of 2"}

    def test_leave_out_a_seed_that_a_scene_lacks(self):
        given = [self.metrics("a", 0, 1), self.metrics("b", 0, 3), self.metrics("a", 1, 1)]
        assert [m["seed"] for m in scene_means(given)] == [0]

    def test_need_two_scenes_of_one_setting(self):
        one = self.metrics("a", 0, 1)
        assert scene_means([one]) == []
        assert scene_means([one, {**self.metrics("b", 0, 3), "size": [9, 9]}]) == []

    def test_are_of_one_data_set_each(self):
        splits = {"a": "LLFF as RegNeRF: 3", "b": "LLFF as RegNeRF: 3", "c": "DTU: 3", "d": "3"}
        given = [{**self.metrics(s, 0, 10.0), "split": split} for s, split in splits.items()]
        assert [m["scene"] for m in scene_means(given)] == ["mean of 2 of LLFF"]

    def test_name_the_scenes_that_a_setting_lacks(self):
        """Or two means of seven scenes each might be of different ones."""
        given = [
            {**self.metrics(scene, 0, 10.0), "split": "LLFF: 3", "recipe": recipe}
            for recipe in ("mipnerf", "regnerf")
            for scene in ("fern", "horns", "trex")
            if (recipe, scene) != ("regnerf", "fern")
        ]
        assert [m["scene"] for m in scene_means(given)] == [
            "mean of 3 of LLFF",
            "mean of 2 of LLFF, without fern",
        ]

    def test_are_of_the_metrics_that_all_scenes_have(self):
        one, other = self.metrics("a", 0, 1), self.metrics("b", 0, 3)
        one = {**one, "mean": {**one["mean"], "depth_mae": 1.0}}
        assert scene_means([one, other])[0]["mean"].keys() == {"psnr", "ssim"}


class TestTable:
    @pytest.fixture
    def llff3(self):
        values = {
            tiny_job(scene, recipe=recipe, seed=seed): psnr + seed
            for scene in ("fern", "horns")
            for recipe, psnr in (("mipnerf", 14.0), ("regnerf", 18.0))
            for seed in (0, 1)
        }
        return summary("llff3", values, missing={"trex": "no folder trex"}, seeds=2)

    def test_has_ours_their_means_and_the_papers(self, llff3):
        rows = [line for line in llff3.markdown().splitlines() if line.startswith("| ")]
        assert rows[1].startswith("| fern | mipnerf | 3 | 6 | test | 24x18 | 2 | 14.500 ± 0.707 |")
        assert rows[5].startswith("| mean of 2 | mipnerf | 3 | 6 | test | 24x18 | 2 | 14.500 ±")
        # Digits as printed: not 19.080.
        assert rows[9].startswith(
            "| mean of 8 | paper: RegNeRF | 3 |  | test | 504x378 |  | 19.08 |"
        )
        assert len({row.count("|") for row in rows}) == 1

    def test_says_every_departure(self, llff3):
        failed = tiny_job(recipe="fewview")
        other = replace(llff3, failures={failed: "diverged"})
        said = "\n".join(replace(other, plan=Plan((*llff3.plan.jobs, failed), {})).departures())
        for words in (
            "preset small: a network of 2x16, 128 rays",
            "photographs of 24x18 pixels, where the papers have 504x378",
            "scenes left out: flower, fortress, leaves, orchids, room, trex",
            "failed: embedded, fewview, 3 views, seed 0: diverged",
            "nerfreg's own colour prior",
        ):
            assert words in said
        assert "could not run: no folder trex" in llff3.departures()
        assert "jobs have not run yet" not in said

    def test_says_what_has_not_run_and_what_was_asked_for(self):
        done, open_job = tiny_job(), tiny_job(seed=1)
        result = result_of(done)
        result["metrics"]["not_computed"] = {"lpips": "no weights"}
        table = summary("llff3", {done: result}, steps=6, scenes=("embedded",), keypoints="none")
        said = replace(table, plan=Plan((done, open_job), {})).departures()
        assert "1 of 2 jobs have not run yet" in said
        assert "6 steps, as asked for, instead of the preset's" in said
        assert "scenes that are not the table's own: embedded" in said
        assert "keypoints: none, as asked for" in said
        assert "lpips not computed: give --lpips-weights FILE, made by convert_lpips.py" in said

    @pytest.mark.parametrize(
        ("recipe", "without", "matters"),
        [
            ("fewview", "", True),
            ("fewview", "occlusion", True),
            ("fewview", "depth_kl", False),
            ("mipnerf", "", False),
        ],
    )
    def test_repeats_what_is_amiss_with_keypoints_where_they_train(self, recipe, without, matters):
        job = tiny_job(recipe=recipe, without=without)
        result = result_of(job)
        result["warnings"] = ["a test view helped"]
        said = summary("embedded", {job: result}).departures()
        assert ("embedded: a test view helped" in said) == matters

    def test_says_when_different_code_made_the_results(self):
        a, b = tiny_job(), tiny_job(seed=1)
        table = summary("embedded", {a: result_of(a), b: result_of(b, code="def")})
        assert "results of several versions of the code: abc, def" in table.departures()

    def test_the_papers_own_flavours_have_their_columns(self):
        job = tiny_job("fern")
        result = result_of(job)
        result["metrics"]["mean"]["ssim_released"] = 0.625
        table = summary("llff3", {job: result})
        assert table.rows()[0]["metrics"]["ssim_released"]["mean"] == 0.625
        assert "| ssim_released |" in table.markdown()
        assert any("`ssim_released`" in line for line in table.departures())

    def test_csv_and_json_hold_the_same_rows(self, llff3):
        rows = list(csv.DictReader(llff3.csv().splitlines()))
        content = json.loads(llff3.json())
        assert len(rows) == len(content["rows"]) + len(content["published"])
        assert (rows[0]["scene"], rows[0]["psnr"], rows[0]["size"]) == ("fern", "14.5", "24x18")
        assert float(rows[0]["psnr_std"]) == pytest.approx(0.7071, abs=1e-4)
        assert rows[-1]["source"].startswith("Yang")
        assert rows[0]["source"] == "nerfreg"
        assert content["missing"] == {"trex": "no folder trex"}
        assert len(content["jobs"]) == 8


class TestFindings:
    def test_views_that_the_baseline_needs(self):
        values = {tiny_job(views=v): p for v, p in ((3, 10.0), (6, 16.0), (9, 22.0))}
        values |= {tiny_job(recipe="fewview", views=v): p for v, p in ((3, 18.0), (9, 23.0))}
        values |= {tiny_job(recipe="regnerf"): 30.0}
        found = summary("data-efficiency", values).findings()
        assert [f["words"] for f in found] == [
            "embedded: mipnerf needs 7.0 views for the 18.00 dB of fewview with 3",
            "embedded: mipnerf needs more than 9.0 views for the 30.00 dB of regnerf with 3",
        ]
        assert found[0]["ratio"] == pytest.approx(7 / 3)

    def test_are_of_the_objects_pixels_where_there_are_masks(self):
        base, other = tiny_job(), tiny_job(recipe="fewview")
        values = {base: result_of(base, 20.0), other: result_of(other, 30.0)}
        for job, psnr in ((base, 15.0), (other, 14.0)):
            values[job]["metrics"]["mean"]["psnr_masked"] = psnr
        (found,) = summary("data-efficiency", values).findings()
        assert (found["level"], found["at"], found["bound"]) == (14.0, 3.0, True)

    def test_their_mean_over_scenes_says_what_it_leaves_out(self):
        values = {}
        for scene, psnr in (("fern", 13.0), ("horns", 19.0), ("embedded", 40.0)):
            values |= {tiny_job(scene, views=v): p for v, p in ((3, 10.0), (6, 16.0), (9, 22.0))}
            values[tiny_job(scene, recipe="fewview")] = psnr
        last = summary("data-efficiency", values).findings()[-1]
        assert last["words"] == (
            "mean over 2 scenes (1 more known as a bound alone), fewview with 3: 6.0 views"
        )

    def test_a_mean_is_of_one_number_of_views(self):
        """Where a scene lacks 3 views, 6 are compared instead."""
        values = {}
        for scene, fewest in (("fern", 3), ("horns", 6)):
            values |= {tiny_job(scene, views=v): p for v, p in ((3, 10.0), (6, 16.0), (9, 22.0))}
            values[tiny_job(scene, recipe="fewview", views=fewest)] = 13.0
        words = [f["words"] for f in summary("data-efficiency", values).findings()]
        assert words[1].endswith("of fewview with 6")
        assert len(words) == 2, "no mean of the two"

    def test_are_of_the_seeds_that_all_points_have(self):
        values = {tiny_job(views=v, seed=0): p for v, p in ((3, 10.0), (6, 16.0), (9, 22.0))}
        values |= {tiny_job(recipe="fewview", seed=0): 13.0}
        values |= {tiny_job(views=v, seed=1): 30.0 for v in (3, 6)}
        table = summary("data-efficiency", values)
        assert [f["at"] for f in table.findings()] == [4.5]
        assert any("is of seeds 0 alone" in line for line in table.departures())
        whole = summary("data-efficiency", {j: p for j, p in values.items() if not j.config.seed})
        assert not any("is of seeds" in line for line in whole.departures())

    def test_points_that_share_no_seed_are_said_to(self):
        table = summary(
            "data-efficiency", {tiny_job(): 10.0, tiny_job(recipe="fewview", seed=1): 9.0}
        )
        assert [f["level"] for f in table.findings()] == [9.0]
        assert "embedded: the points of the figure share no seed" in table.departures()

    def test_curves_are_compared_at_the_steps_that_all_seeds_have(self):
        """A run that was cut short may lack one."""
        a, b = tiny_job(), tiny_job(seed=1)
        values = {
            a: result_of(a, 16.0, curve=[[2, 2.0, 10.0], [4, 4.0, 14.0]]),
            b: result_of(b, 18.0, curve=[[4, 6.0, 15.0]]),
        }
        results = summary("convergence", values).results
        assert seeds_mean(results, "embedded") == {"mipnerf": ([4, 6], [14.5, 17.0])}
        assert seeds_mean(results, "embedded", seconds=True)["mipnerf"][0] == [5.0, 6.0]

    def test_steps_and_seconds_to_the_baselines_best(self):
        plain, deep = tiny_job(), tiny_job(recipe="dsnerf")
        values = {
            plain: result_of(plain, 16.0, curve=[[2, 2.0, 10.0], [4, 4.0, 14.0]]),
            deep: result_of(deep, 20.0, curve=[[2, 4.0, 12.0], [4, 8.0, 20.0]]),
        }
        steps, seconds = summary("convergence", values).findings()
        assert steps["words"] == (
            "embedded: dsnerf reaches the 16.00 dB that mipnerf has at its best, after 6 steps,"
            " after 3 steps: 2.0 times sooner"
        )
        assert seconds["ratio"] == pytest.approx(1.0)

    def test_without_the_baseline_there_are_none(self):
        assert summary("data-efficiency", {tiny_job(recipe="fewview"): 10.0}).findings() == []
        assert summary("llff3", {tiny_job(): 10.0}).findings() == []


class TestFigures:
    def run(self, job, out):
        test = JobFolder.of(job, out).run / "test"
        test.mkdir(parents=True)
        for kind in ("rgb", "truth", "depth"):
            iio.imwrite(test / f"view_{kind}.png", np.zeros((18, 24, 3), np.uint8))

    @pytest.mark.parametrize(
        ("table", "recipes"),
        [
            ("embedded", ["mipnerf", "fewview"]),
            ("ablation", ["regnerf"]),
            ("data-efficiency", ["mipnerf", "fewview", "regnerf"]),
            ("convergence", ["mipnerf", "dsnerf"]),
        ],
    )
    def test_each_table_has_its_own(self, table, recipes, tmp_path):
        values = {
            tiny_job(recipe=recipe, views=views, seed=seed): 10.0 + views + 4 * i
            for i, recipe in enumerate(recipes)
            for views in ((3, 6, 9) if table == "data-efficiency" else (3,))
            for seed in (0, 1)
        }
        for job in values:
            self.run(job, tmp_path)
        made = draw(summary(table, values), tmp_path, tmp_path)
        kind = {"ablation": "ablation", "data-efficiency": "views", "convergence": "convergence"}
        own = [f"{kind[table]}-embedded.png"] if table in kind else []
        assert made == [*own, "images-embedded.png"]
        assert all(iio.imread(tmp_path / name).shape[1] > 100 for name in made)
        assert not list(tmp_path.glob(".*"))

    @pytest.mark.parametrize(
        ("table", "names"),
        [
            ("data-efficiency", ["views-fern.png", "views-horns.png", "views.png"]),
            ("convergence", ["convergence-fern.png", "convergence-horns.png", "convergence.png"]),
            ("ablation", ["ablation-fern.png", "ablation-horns.png"]),
        ],
    )
    def test_several_scenes_have_one_together(self, table, names, tmp_path):
        jobs = [
            tiny_job("fern"),
            tiny_job("fern", recipe="fewview"),
            tiny_job("horns", recipe="fewview"),
        ]
        assert draw(summary(table, dict.fromkeys(jobs, 10.0)), tmp_path, tmp_path) == names

    def test_a_figure_has_a_panel_for_each_scene_and_one_legend(self):
        """A variant has one colour in all panels, also where a scene lacks the first."""
        scenes = ["fern", "flower", "horns", "fox"]
        jobs = [tiny_job(scene, recipe="fewview") for scene in scenes]
        jobs.insert(0, tiny_job("horns"))
        results = {job: result_of(job) for job in jobs}
        panels = [(figures._views, scene) for scene in scenes]
        drawn = figures._grid(results, panels, "mipnerf")
        assert [axes.get_title() for axes in drawn.axes] == scenes
        assert [text.get_text() for text in drawn.legends[0].get_texts()] == ["mipnerf", "fewview"]
        assert {axes.lines[-1].get_color() for axes in (drawn.axes[0], drawn.axes[3])} == {"C1"}

    def test_axes_say_whether_the_object_alone_is_measured(self):
        job = tiny_job()
        result = result_of(job)
        axes = figures._grid({job: result}, [(figures._views, "embedded")], "mipnerf").axes[0]
        assert axes.get_ylabel() == "test PSNR, dB"
        result["metrics"]["mean"]["psnr_masked"] = 15.0
        axes = figures._grid({job: result}, [(figures._views, "embedded")], "mipnerf").axes[0]
        assert axes.get_ylabel() == "test PSNR of the object, dB"
        on_the_way = [(figures._PANELS["convergence"][0], "embedded")]
        axes = figures._grid({job: result}, on_the_way, "mipnerf").axes[0]
        assert axes.get_ylabel() == "test PSNR, dB", "on the way all pixels count"

    def test_the_crossing_is_marked_where_the_baseline_is_as_good(self):
        values = {tiny_job(views=v): p for v, p in ((3, 10.0), (6, 16.0), (9, 22.0))}
        values |= {tiny_job(recipe="fewview", views=v): 18.0 for v in (3, 6)}
        results = summary("data-efficiency", values).results
        axes = figures._grid(results, [(figures._views, "embedded")], "mipnerf").axes[0]
        (mark,) = [line for line in axes.lines if line.get_marker() == "x"]
        assert mark.get_xydata().tolist() == [[7.0, 18.0]]
        assert [text.get_text() for text in axes.texts] == ["7.0 views"]

    @pytest.mark.parametrize(("level", "ups"), [(13.5, [False, True]), (20.0, [False, False])])
    def test_the_upper_of_two_close_marks_is_named_above(self, level, ups):
        """Or one name would lie on the other."""
        values = {tiny_job(views=v): p for v, p in ((3, 10.0), (6, 16.0), (9, 22.0))}
        values |= {tiny_job(recipe="regnerf"): 13.0, tiny_job(recipe="fewview"): level}
        results = summary("data-efficiency", values).results
        axes = figures._grid(results, [(figures._views, "embedded")], "mipnerf").axes[0]
        assert [text.xyann[1] > 0 for text in axes.texts] == ups

    def test_images_of_runs_elsewhere_are_no_error(self, tmp_path):
        assert draw(summary("embedded", {tiny_job(): 10.0}), tmp_path, tmp_path) == []
