"""The grid as a batch script; `from netpyne.batchtools.search import search` would run it under netpyne.batchtools."""

from mpiens import search

if __name__ == "__main__":
    study = search(
        job_type="sh",
        comm_type="socket",
        run_config={"command": "python init.py"},
        params={"weights.E->P": [0.001, 0.002, 0.004], "weights.P->E": [0.0, 0.002, 0.004]},
        algorithm="grid",
        label="batch",
        output_path="./batch",
        metric="loss",
        mode="min",
    )
    if study.is_host:
        print(study.data.nsmallest(3, "loss")[["weights.E->P", "weights.P->E", "loss", "rates.E"]].to_string())
