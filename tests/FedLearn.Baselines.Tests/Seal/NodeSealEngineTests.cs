using System.Diagnostics;
using FedLearn.Baselines.HomomorphicEncryption;
using FedLearn.Diagnostics;

namespace FedLearn.Baselines.Tests.Seal;

public sealed class NodeSealEngineTests
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);

    [Fact]
    public async Task Calls_IssuedWithoutAwaiting_TakeEffectInOrder()
    {
        await using NodeSealEngine engine = await SealParties.StartAsync();
        Task<byte[]> keys = engine.CreateKeysAsync(default);
        await engine.UsePublicKeyAsync(await keys, default);
        double[] one = [1.0];
        Task<int>[] encrypted = [.. Enumerable.Range(0, 100).Select(_ => engine.EncryptAsync(one, 1 << 20, default))];
        Task<int> encoded = engine.EncodeAsync(one, 1 << 20, default);
        int[] handles = await Task.WhenAll(encrypted);
        Assert.Equal(Enumerable.Range(1, 100), handles);
        engine.Release(handles.AsMemory(0, 99), default);
        Task<byte[]> kept = engine.SaveAsync(handles[99], default), freed = engine.SaveAsync(handles[0], default);
        Assert.Equal(CkksParameters.CiphertextBytes, (await kept).Length);
        Assert.Equal(HeErrors.SealFailed, (await Assert.ThrowsAsync<InternalFailureException>(() => freed)).Id);
        byte[] sum = await engine.InnerProductAsync(new[] { handles[99] }, new[] { await encoded }, default);
        CkksParameters.CheckCiphertext(sum, Math.ScaleB(1, 40));
    }

    [Fact]
    public async Task Refusal_BySeal_LeavesTheEngineUsable()
    {
        await using NodeSealEngine engine = await SealParties.StartAsync();
        InternalFailureException refused = await Assert.ThrowsAsync<InternalFailureException>(() => engine.EncryptAsync(new double[] { 1 }, 1, default));
        Assert.Equal(HeErrors.SealFailed, refused.Id);
        Assert.Contains("no key", refused.Cause, StringComparison.Ordinal);
        Assert.Equal(HeErrors.SealFailed, (await Assert.ThrowsAsync<InternalFailureException>(() => engine.LoadAsync(new byte[500], default))).Id);
        Assert.Equal(HeErrors.SealFailed, (await Assert.ThrowsAsync<InternalFailureException>(() => engine.UsePublicKeyAsync(new byte[3], default))).Id);
        Assert.Equal(HeErrors.SealFailed, (await Assert.ThrowsAsync<InternalFailureException>(() => engine.EncodeAsync(new double[] { 1 }, Math.ScaleB(1, 130), default))).Id);
        Assert.Equal(CkksParameters.KeyBytes, (await engine.CreateKeysAsync(default)).Length);
        Assert.StartsWith("node-seal 6.", engine.Name, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Calls_OfAKilledWorker_AllFail()
    {
        NodeSealEngine engine = await SealParties.StartAsync();
        await engine.UsePublicKeyAsync(await engine.CreateKeysAsync(default), default);
        double[] block = new double[4096];
        Task<int>[] pending = [.. Enumerable.Range(0, 2000).Select(_ => engine.EncryptAsync(block, 1 << 20, default))];
        await pending[0];
        using (var worker = Process.GetProcessById(engine.ProcessId))
            worker.Kill();
        await Task.WhenAll(pending.Select(call => (Task)call.ContinueWith(_ => { }, TaskScheduler.Default))).WaitAsync(Patience);
        Task<int>[] failed = [.. pending.Where(call => !call.IsCompletedSuccessfully)];
        Assert.NotEmpty(failed);
        Assert.All(failed, call => Assert.Equal(HeErrors.WorkerEnded, Assert.IsType<InternalFailureException>(call.Exception!.InnerException).Id));
        InternalFailureException later = await Assert.ThrowsAsync<InternalFailureException>(() => engine.CreateKeysAsync(default)).WaitAsync(Patience);
        Assert.Equal((HeErrors.WorkerEnded, OperatingSystem.IsWindows() ? "Its process ended with exit code -1." : "Its process was ended by signal 9."), (later.Id, later.Cause));
        engine.Release(new[] { 1 }, default);
        await engine.DisposeAsync().AsTask().WaitAsync(Patience);
    }

    [Fact]
    public async Task Dispose_WithCallsUnderWay_EndsTheProcess()
    {
        NodeSealEngine engine = await SealParties.StartAsync();
        using var worker = Process.GetProcessById(engine.ProcessId);
        Task<byte[]> keys = engine.CreateKeysAsync(default);
        await engine.DisposeAsync().AsTask().WaitAsync(Patience);
        Assert.True(worker.HasExited);
        Assert.Equal(CkksParameters.KeyBytes, (await keys).Length);
        await Assert.ThrowsAsync<ObjectDisposedException>(() => engine.CreateKeysAsync(default));
        await engine.DisposeAsync();
    }

    [Fact]
    public async Task Cancellation_OfACall_LeavesTheEngineUsable()
    {
        await using NodeSealEngine engine = await SealParties.StartAsync();
        await engine.UsePublicKeyAsync(await engine.CreateKeysAsync(default), default);
        using var stop = new CancellationTokenSource();
        Task<int>[] calls = [.. Enumerable.Range(0, 200).Select(_ => engine.EncryptAsync(new double[4096], 1 << 20, stop.Token))];
        stop.Cancel();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => calls[^1]);
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => engine.CreateKeysAsync(stop.Token));
        Assert.Equal(CkksParameters.KeyBytes, (await engine.CreateKeysAsync(default)).Length);
    }

    [Fact]
    public async Task Start_WithoutNode_SaysWhatToRun()
    {
        string folder = CopyOfTheWorker();
        InternalFailureException missing = await Assert.ThrowsAsync<InternalFailureException>(() => NodeSealEngine.StartAsync(Path.Combine(folder, "no-node"), [folder], default));
        Assert.Equal(HeErrors.SealMissing, missing.Id);
        Assert.Contains("eng/setup.sh he", missing.Message, StringComparison.Ordinal);
        missing = await Assert.ThrowsAsync<InternalFailureException>(() => NodeSealEngine.StartAsync("node", [Path.Combine(folder, "elsewhere")], default));
        Assert.Equal(HeErrors.SealMissing, missing.Id);
        Directory.Delete(folder, true);
    }

    [Fact]
    public async Task Start_WithoutNodeSeal_SaysWhatToRun()
    {
        await using (await SealParties.StartAsync())
        {
        }

        string folder = CopyOfTheWorker();
        InternalFailureException missing = await Assert.ThrowsAsync<InternalFailureException>(() => NodeSealEngine.StartAsync("node", [folder], default));
        Assert.Equal(HeErrors.SealMissing, missing.Id);
        Assert.Contains("node-seal is not installed", missing.Cause, StringComparison.Ordinal);
        Assert.Contains("eng/setup.sh he", missing.Message, StringComparison.Ordinal);
        Directory.Delete(folder, true);
    }

    [Theory]
    [InlineData("exit 3")]
    [InlineData("printf 'hello, I am no worker at all'")]
    [InlineData("printf '\\1\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0'")]
    public async Task Start_OfAWorkerThatSpeaksOtherwise_Fails(string script)
    {
        await Assert.ThrowsAsync<InternalFailureException>(() => StartShell(script, _ => Task.CompletedTask));
    }

    [Theory]
    [InlineData("printf '\\0\\0\\0\\0\\7\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0'; cat > /dev/null")]
    [InlineData("printf '\\377\\377\\377\\377\\1\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0'; cat > /dev/null")]
    [InlineData("printf '\\4\\0\\0\\0\\1\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0ab'")]
    [InlineData("printf '\\4\\0'")]
    [InlineData("exit 0")]
    public async Task Calls_OfAWorkerThatBreaksItsFrames_AllFail(string script)
    {
        // A first frame without a name, a request's head, and then the fault.
        await StartShell("printf '\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0'; head -c 16 > /dev/null; " + script, async engine =>
        {
            for (int k = 0; k < 2; k++)
                Assert.Equal(HeErrors.WorkerEnded, (await Assert.ThrowsAsync<InternalFailureException>(() => engine.CreateKeysAsync(default)).WaitAsync(Patience)).Id);
        });
    }

    [Fact]
    public void Folders_WithAndWithoutTheVariable_AreInOrder()
    {
        Assert.Equal(["/opt/seal"], NodeSealEngine.Folders("/opt/seal", AppContext.BaseDirectory, null));
        IReadOnlyList<string> folders = NodeSealEngine.Folders(null, AppContext.BaseDirectory, "/lib");
        Assert.Equal(Path.Combine(AppContext.BaseDirectory, "seal-worker"), folders[0]);
        Assert.Equal(Path.Combine("/lib", "seal-worker"), folders[1]);
        Assert.True(File.Exists(Path.Combine(folders[0], "worker.mjs")));
        Assert.True(File.Exists(Path.Combine(folders[0], "package-lock.json")));
    }

    private static async Task StartShell(string script, Func<ISealEngine, Task> use)
    {
        if (!File.Exists("/bin/sh"))
            Assert.Skip("There is no /bin/sh to stand in for the worker.");
        string folder = Directory.CreateTempSubdirectory("fedlearn-seal").FullName;
        await File.WriteAllTextAsync(Path.Combine(folder, "worker.mjs"), script);
        try
        {
            await using ISealEngine engine = await NodeSealEngine.StartAsync("/bin/sh", [folder], default).WaitAsync(Patience);
            await use(engine);
        }
        finally
        {
            Directory.Delete(folder, true);
        }
    }

    private static string CopyOfTheWorker()
    {
        string folder = Directory.CreateTempSubdirectory("fedlearn-seal").FullName;
        File.Copy(Path.Combine(AppContext.BaseDirectory, "seal-worker", "worker.mjs"), Path.Combine(folder, "worker.mjs"));
        return folder;
    }
}
