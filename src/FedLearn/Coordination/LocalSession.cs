using FedLearn.Diagnostics;
using FedLearn.Protocol;

namespace FedLearn.Coordination;

/// <summary>A session whose parties are tasks of one process, over channels in memory.</summary>
internal static class LocalSession
{
    /// <summary>Joins and runs every party, the active one being the first.</summary>
    public static async Task<IReadOnlyList<T>> RunAsync<T>(SessionTerms terms, IReadOnlyList<JoinRequest> requests, ChannelOptions options,
        Func<int, SessionAgreement, IReadOnlyList<IPartyChannel>, CancellationToken, Task<T>> run, CancellationToken cancellationToken)
    {
        var desk = new SessionDesk(terms, options.ReceiveTimeout, options.Clock);
        (InMemoryChannel First, InMemoryChannel Second)[] pairs =
            [.. requests.Skip(1).Select(r => InMemoryChannel.CreatePair(requests[0].Party.Name, r.Party.Name, options))];
        using var joining = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        async Task<SessionAgreement> JoinAsync(int i)
        {
            try
            {
                SessionAgreement agreement = await desk.JoinAsync(requests[i], joining.Token).ConfigureAwait(false);
                SessionDesk.Verify(requests[i], agreement);
                return agreement;
            }
            catch
            {
                // Nobody else will come in its place: the others need not wait for it.
                await joining.CancelAsync().ConfigureAwait(false);
                throw;
            }
        }

        async Task<T> RunPartyAsync(int i)
        {
            SessionAgreement agreement = await JoinAsync(i).ConfigureAwait(false);
            return await run(i, agreement, i == 0 ? [.. pairs.Select(p => p.First)] : [pairs[i - 1].Second], cancellationToken).ConfigureAwait(false);
        }

        Task<T>[] tasks = [.. Enumerable.Range(0, requests.Count).Select(i => Task.Run(() => RunPartyAsync(i), CancellationToken.None))];
        try
        {
            return await Task.WhenAll(tasks).ConfigureAwait(false);
        }
        catch (Exception) when (tasks.Any(t => t.IsFaulted))
        {
            // A party that was stopped tells the others so; what they throw is an echo of it.
            if (tasks.FirstOrDefault(t => t.IsCanceled) is { } cancelled && tasks.Where(t => t.IsFaulted).All(t => FailureSummary.IsEcho((t.Exception!.InnerException as FedLearnException)?.Id)))
                await cancelled.ConfigureAwait(false);
            throw FailureSummary.Root(tasks.Where(t => t.IsFaulted).Select(t => t.Exception!.InnerException!));
        }
        finally
        {
            foreach ((InMemoryChannel first, InMemoryChannel second) in pairs)
            {
                await first.DisposeAsync().ConfigureAwait(false);
                await second.DisposeAsync().ConfigureAwait(false);
            }
        }
    }
}
