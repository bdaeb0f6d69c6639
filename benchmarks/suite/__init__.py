"""What every benchmark suite is made of: plan, execute, report, as three steps over plain files.

trial      one training and one measurement, as data
plan       tasks x variants x grid x seeds, and what all of them share
asking     from a preset and a command line to the settings and rows of a plan
command    the command line itself
settings   how trials are trained: backbone, data, recipes
folder     the files of a benchmark folder, and the lock on it
schedule   which trials can be done now, and together
bench      the worker's side: a backbone, tasks, and trials done on them
executors  where that happens: in process, in a pool of processes, on a Ray cluster
execute    the driver: hands out jobs, writes down what comes back
check      what would spoil every trial, found before the first
cost       what a plan will take, before it runs
models     the methods of a plan on its backbone, for these two
report     tables, statistics, charts and the page, from the files alone
"""
