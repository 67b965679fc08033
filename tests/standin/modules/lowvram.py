"""Which part of the model is on the graphics card under --medvram; the stand-in has neither."""

module_in_gpu = None


def send_everything_to_cpu():
    global module_in_gpu
    if module_in_gpu is not None:
        module_in_gpu.to("cpu")
    module_in_gpu = None
